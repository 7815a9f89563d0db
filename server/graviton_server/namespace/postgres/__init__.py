"""The namespace on PostgreSQL, for any number of daemons: docs/adr/0026-namespace-on-postgresql.md."""
