"""Targets: where packs are kept."""
