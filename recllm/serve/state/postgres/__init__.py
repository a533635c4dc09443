"""The store in a Postgres database, which may be on another machine, with vectors of items for other programs."""
