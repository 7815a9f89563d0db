"""Bytes that a program has written and neither closes nor syncs: they get into the volume after a while.

Otherwise the file that a long-lived program appends to would be lost for as long as it is open, however
old its bytes are, and no other front end would see them.
"""

from __future__ import annotations

import logging

import trio

from gravitonfs.core.ids import Ino
from gravitonfs.errors import GravitonError
from gravitonfs.vfs.files import Files

log = logging.getLogger("graviton.vfs")

LOOK_EVERY = 5.0
AFTER = 30.0
"""Seconds, as kernels have it for local disks. A flush ends a block early, so not more often."""


class WriteBack:
    """Flushes what has been waiting for ``after`` seconds. On the loop of the mount."""

    def __init__(self, files: Files, *, after: float = AFTER) -> None:
        self._files = files
        self._after = after
        self._since: dict[Ino, float] = {}
        """When an inode was first seen with something to store."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await trio.sleep(LOOK_EVERY)
            await self.look(trio.current_time())

    async def look(self, now: float) -> None:
        """What fails stays with its writer, whose next write, sync or close tells it."""
        before, self._since = self._since, {}
        for inode in self._files.open_inodes:
            if not inode.dirty:
                continue
            since = before.get(inode.attr.ino, now)
            if now - since >= self._after:
                try:
                    await self._files.flush(inode)
                    continue
                except GravitonError as error:
                    log.info("bytes of inode %d are stored later: %s", inode.attr.ino, error)
            self._since[inode.attr.ino] = since
