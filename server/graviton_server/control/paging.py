"""Directories of any size, a page at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gravitonfs.core.ids import Ino
from gravitonfs.ports.namespace import Entry, Namespace

PAGE: Final = 1000


def every_entry(names: Namespace, directory: Ino) -> Iterator[Entry]:
    """By name, those that are there when their page is read."""
    after: bytes | None = None
    while True:
        page = names.entries(directory, after, PAGE)
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1].name
