"""The same work on Graviton and on other file systems, in one run."""
