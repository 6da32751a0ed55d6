"""The store in one SQLite file: connection, schema, integrity, recovery, backup, lock."""
