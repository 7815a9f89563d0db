"""Attributes in the kernel's shape."""

from __future__ import annotations

from collections.abc import Sequence

import pyfuse3

from gravitonfs.ports.namespace import Entry
from gravitonfs.ports.ops import Attr

BLOCK = 512
PREFERRED_IO = 1 << 20
"""``st_blksize``: programs that copy with it send requests as large as the kernel allows."""


class Ownership:
    """What a mount shows instead of what is stored (options uid, gid, umask)."""

    __slots__ = ("gid", "uid", "umask")

    def __init__(self, uid: int | None = None, gid: int | None = None, umask: int | None = None) -> None:
        self.uid = uid
        self.gid = gid
        self.umask = umask


def entry_attributes(attr: Attr, seconds: float, shown: Ownership | None = None) -> pyfuse3.EntryAttributes:
    """``seconds``: for so long the kernel may trust its name and these attributes."""
    entry = _trusted_for(seconds)
    _fill(entry, attr, shown)
    return entry


def reply_entries(
    token: pyfuse3.ReaddirToken,
    entries: Sequence[Entry],
    position: int,
    seconds: float,
    shown: Ownership | None = None,
) -> int:
    """How many of them the answer to a readdir had room for. The first stands at ``position``."""
    answer = _trusted_for(seconds)  # it is copied at once, so that one does for all
    reply = pyfuse3.readdir_reply
    for at, (name, attr, _) in enumerate(entries, position):
        _fill(answer, attr, shown)
        if not reply(token, name, answer, at):
            return at - position
    return len(entries)


def _trusted_for(seconds: float) -> pyfuse3.EntryAttributes:
    entry = pyfuse3.EntryAttributes()
    entry.st_blksize = PREFERRED_IO
    entry.entry_timeout = seconds
    entry.attr_timeout = seconds
    return entry


def _fill(entry: pyfuse3.EntryAttributes, attr: Attr, shown: Ownership | None) -> None:
    """All that differs from one inode to another."""
    (
        ino, mode, nlink, uid, gid, rdev, size,
        entry.st_atime_ns, entry.st_mtime_ns, entry.st_ctime_ns, _, _, _,
    ) = attr  # fmt: skip
    if shown is not None:
        uid = uid if shown.uid is None else shown.uid
        gid = gid if shown.gid is None else shown.gid
        mode = mode if shown.umask is None else mode & ~shown.umask
    entry.st_ino = ino
    entry.st_mode = mode
    entry.st_nlink = nlink
    entry.st_uid = uid
    entry.st_gid = gid
    entry.st_rdev = rdev
    entry.st_size = size
    entry.st_blocks = -(-size // BLOCK)


def no_entry(seconds: float) -> pyfuse3.EntryAttributes:
    """A name that does not exist, which the kernel may remember."""
    entry = pyfuse3.EntryAttributes()
    entry.st_ino = pyfuse3.InodeT(0)
    entry.entry_timeout = seconds
    return entry
