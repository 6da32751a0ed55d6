"""The store in PostgreSQL, which several machines share; loaded only where `store.url` is set."""
