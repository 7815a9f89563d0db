"""The namespace in SQL: one meaning of each op; SQLite is the engine of embedded volumes."""
