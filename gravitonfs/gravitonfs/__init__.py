"""Graviton: content-addressed storage that is used as a file system."""

__version__ = "0.1.0"
