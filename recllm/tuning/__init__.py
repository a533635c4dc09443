"""Prompts that improve by measurement: composed from a catalog, raced on held-out users, kept with their lineage."""
