"""What the journal has answered for goes to the store, in the background. On the loop of the mount.

An ``Uploads`` is what the mount's requests ask for; an ``Uploader`` does it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import trio

from gravitonfs.core.ids import Ino
from gravitonfs.errors import GravitonError, Stale, Unavailable
from gravitonfs.journal.journal import Journal
from gravitonfs.ports.namespace import Namespace
from gravitonfs.vfs.bounded import Bounded

if TYPE_CHECKING:
    from gravitonfs.vfs.files import Files
    from gravitonfs.vfs.openinodes import OpenInode

log = logging.getLogger("graviton.vfs")

_AT_ONCE: Final = 8
"""Files on their way at a time."""
_GATHER: Final = 0.03
"""Seconds in which more syncs may come, before all are uploaded and committed together."""
_AGAIN: Final = 1.0
"""Seconds until what failed is tried again, and until it is looked whether the journal fills up."""


class Uploads:
    """What is to be uploaded. On the loop."""

    def __init__(self, namespace: Namespace, journal: Journal | None) -> None:
        self.bounded = Bounded(namespace)
        if journal is not None:
            self.bounded.ask()
        self.synced: dict[Ino, OpenInode] = {}
        self.kept: dict[Ino, OpenInode] = {}
        """Nobody has them open any more; their last flush has failed."""
        self.commit = False
        self._work = trio.Event()
        self._done = trio.Event()

    def wanted(self, inode: OpenInode) -> None:
        self.synced[inode.attr.ino] = inode
        self._work.set()

    def keep(self, inode: OpenInode) -> None:
        if inode.attr.ino in self.kept:
            inode.handles -= 1  # kept already
        self.kept[inode.attr.ino] = inode
        self._work.set()

    def commit_soon(self) -> None:
        self.commit = True
        self._work.set()

    def hurry(self) -> None:
        self._work.set()

    async def work(self, seconds: float) -> None:
        """Until there is something to do, or ``seconds`` have passed."""
        with trio.move_on_after(seconds):
            await self._work.wait()
        self._work = trio.Event()

    async def progress(self) -> None:
        """Until a round is over."""
        await self._done.wait()

    def round_over(self) -> None:
        self._done.set()
        self._done = trio.Event()


class Uploader:
    def __init__(self, files: Files, journal: Journal) -> None:
        self._files = files
        self._journal = journal
        self._uploads = files.uploads
        self._limit = trio.CapacityLimiter(_AT_ONCE)
        self._away = False

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._uploads.work(_AGAIN)
            await trio.sleep(_GATHER)
            well = await self.round()
            self._uploads.round_over()
            if not well:
                await trio.sleep(_AGAIN)

    async def round(self) -> bool:
        """Everything asked for, once. False when the store did not take all of it."""
        uploads = self._uploads
        todo = {**uploads.kept, **uploads.synced}
        uploads.synced.clear()
        if self._journal.crowded:
            oldest = set(self._journal.oldest())
            todo |= {one.attr.ino: one for one in self._files.open_inodes if one.attr.ino in oldest}
        commit, uploads.commit = uploads.commit or self._journal.crowded, False
        failed: list[GravitonError] = []
        async with trio.open_nursery() as nursery:
            for inode in todo.values():
                nursery.start_soon(self._upload, inode, failed)
        if commit and not failed and not self._journal.idle:
            try:
                await self._files.commit()
            except GravitonError as error:
                uploads.commit = True
                failed.append(error)
        self._tell(failed)
        return not failed

    async def _upload(self, inode: OpenInode, failed: list[GravitonError]) -> None:
        async with self._limit:
            try:
                await self._files.upload(inode)
            except Stale as error:
                log.error(
                    "inode %d has gone: the next mount puts its journalled bytes into /.graviton-lost: %s",
                    inode.attr.ino,
                    error,
                )
                if inode.attr.ino in self._uploads.kept:
                    await self._files.give_up(inode)
            except GravitonError as error:
                self._uploads.synced.setdefault(inode.attr.ino, inode)
                failed.append(error)
                return
            if self._uploads.kept.pop(inode.attr.ino, None) is not None:
                await self._files.uploaded(inode)

    def _tell(self, failed: list[GravitonError]) -> None:
        """Once when it begins, once when it is over."""
        if failed and not self._away:
            level = logging.INFO if isinstance(failed[0], Unavailable) else logging.WARNING
            log.log(
                level,
                "%d bytes stay in the journal for now: %s",
                self._journal.held_bytes,
                failed[0],
            )
        elif self._away and not failed:
            log.info("the store takes again what is in the journal")
        self._away = bool(failed)
