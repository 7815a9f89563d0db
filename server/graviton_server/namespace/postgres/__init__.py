"""The namespace on PostgreSQL, for any number of daemons: docs/adr/0018-namespace-on-postgresql.md."""
