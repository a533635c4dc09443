"""Reasons that can be checked: evidence first, words second."""
