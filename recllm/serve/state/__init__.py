"""What the server has acknowledged: events, lists that were answered, items, users, adapters; in SQLite or Postgres."""
