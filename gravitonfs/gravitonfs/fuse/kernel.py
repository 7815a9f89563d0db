"""Telling the kernel what other front ends changed."""

from __future__ import annotations

import errno
import logging
from collections.abc import Sequence

import pyfuse3

from gravitonfs.core.ids import NO_INO, Ino
from gravitonfs.ports.namespace import Change, Touched

log = logging.getLogger("graviton.fuse")

_HARMLESS = {
    errno.EINVAL,
    errno.ENOENT,
    errno.ENOTCONN,
    errno.EBADF,
    errno.ENODEV,
    errno.ENOSYS,
    errno.ENOTDIR,
}
# ENOENT: the kernel did not know it. The others: the mount is coming up or going down (EINVAL: libfuse has no
# session any more).


class KernelCaches:
    """Drops kernel entries, attributes and pages. Call from any thread but the event loop's, without locks.

    A call may block until requests under way for the same directory are answered.
    """

    def __init__(self, root: Ino) -> None:
        self._root = root
        self.live = False

    def changed(self, changes: Sequence[Change]) -> None:
        if not self.live:
            return
        for change in changes:
            try:
                self._drop(change)
            except OSError as error:
                if error.errno not in _HARMLESS:
                    log.warning("the kernel refused to drop %r: %s", change, error)

    def written_in_vain(self, ino: Ino) -> None:
        """The kernel has the size and the bytes that a writer gave the file; it has not got them."""
        self.changed([Change(Touched.ATTR | Touched.DATA, ino, NO_INO, b"")])

    def _drop(self, change: Change) -> None:
        if change.touched & Touched.ENTRY:
            try:
                pyfuse3.invalidate_entry(self._inode(change.parent), pyfuse3.FileNameT(change.name))
            except OSError as error:
                if error.errno not in _HARMLESS:
                    raise
            if change.parent:
                self._invalidate(change.parent, attr_only=True)
        if change.ino and change.touched & (Touched.ATTR | Touched.DATA | Touched.ENTRY):
            self._invalidate(change.ino, attr_only=not change.touched & Touched.DATA)

    def _invalidate(self, ino: Ino, *, attr_only: bool) -> None:
        try:
            pyfuse3.invalidate_inode(self._inode(ino), attr_only)
        except OSError as error:
            if error.errno not in _HARMLESS:
                raise

    def _inode(self, ino: Ino) -> pyfuse3.InodeT:
        return pyfuse3.ROOT_INODE if ino == self._root else pyfuse3.InodeT(ino)
