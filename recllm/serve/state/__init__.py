"""What the server has acknowledged, in one SQLite file: events, lists that were answered, items, users, adapters."""
