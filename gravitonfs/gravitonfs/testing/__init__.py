"""Conformance suites of the ports, real in-memory implementations, and wrappers that fail on demand."""
