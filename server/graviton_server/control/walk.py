"""All of a tree in a volume, without recursion: trees may be deeper than Python's stack."""

from __future__ import annotations

import stat
from collections.abc import Iterator

from graviton_server.control.calls import Cancelled, Channel
from gravitonfs.errors import NotFound, Stale
from gravitonfs.ports.namespace import Namespace
from gravitonfs.ports.ops import Attr

_PAGE = 2000


def walk(namespace: Namespace, path: bytes, start: Attr, channel: Channel) -> Iterator[tuple[bytes, Attr]]:
    """``start`` and everything under it, parents first; what vanishes meanwhile is left out."""
    yield path, start
    if not stat.S_ISDIR(start.mode):
        return
    waiting = [(path, start.ino)]
    while waiting:
        directory, ino = waiting.pop()
        after: bytes | None = None
        while True:
            if channel.cancelled.is_set():
                raise Cancelled
            try:
                entries = namespace.entries(ino, after, _PAGE)
            except (NotFound, Stale):
                break
            for entry in entries:
                name = directory + b"/" + entry.name
                yield name, entry.attr
                if stat.S_ISDIR(entry.attr.mode):
                    waiting.append((name, entry.attr.ino))
            if len(entries) < _PAGE:
                break
            after = entries[-1].name
