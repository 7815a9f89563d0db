"""The namespace on PostgreSQL, for any number of daemons: docs/adr/0024-namespace-on-postgresql.md."""
