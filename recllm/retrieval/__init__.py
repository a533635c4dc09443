"""Candidates: the channels that bring them, and their union."""
