"""Packs on several targets: where copies lie, writing and reading them, making lost ones again."""
