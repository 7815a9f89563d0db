"""A local file as ``put`` finds it, and what it becomes in a request."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import NamedTuple

from graviton_server.cli.localfiles import Xattrs, read_runs
from graviton_server.control.answers import NewNode
from graviton_server.control.wire import Hole

TRIES = 3


class Item(NamedTuple):
    """``path`` is where it goes in the volume."""

    local: bytes
    path: bytes
    info: os.stat_result


def read_whole(item: Item, check: Callable[[], None]) -> tuple[bytes, os.stat_result]:
    """A small file, read again if it changed in between."""
    handle = os.open(item.local, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        for _ in range(TRIES):
            before = os.fstat(handle)
            runs = read_runs(handle, check)
            body = b"".join(bytes(run.length) if isinstance(run, Hole) else run for run in runs)
            if unchanged(before, os.fstat(handle), len(body)):
                return body, before
    finally:
        os.close(handle)
    raise OSError(0, "it changes while it is read: run the command again")


def unchanged(before: os.stat_result, after: os.stat_result, size: int) -> bool:
    """Whether ``size`` bytes that were read in between are the file as it was at one moment."""
    same = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    return same and size == before.st_size


def looks(info: os.stat_result) -> dict[str, int]:
    """What a file has besides its bytes and extended attributes."""
    return {
        "mode": info.st_mode,
        "uid": info.st_uid,
        "gid": info.st_gid,
        "atime_ns": info.st_atime_ns,
        "mtime_ns": info.st_mtime_ns,
    }


def node_of(item: Item, xattrs: Xattrs, *, target: bytes = b"", link_to: bytes | None = None) -> NewNode:
    """The request to make it, or to give it its looks."""
    info = item.info
    device = stat.S_ISCHR(info.st_mode) or stat.S_ISBLK(info.st_mode)
    return NewNode(
        path=item.path,
        rdev=info.st_rdev if device else 0,
        target=target,
        link_to=link_to,
        xattrs=xattrs,
        **looks(info),
    )
