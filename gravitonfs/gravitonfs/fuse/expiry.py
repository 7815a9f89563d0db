"""Taking back what the kernel was told: each name and inode by a message of its own.

Names are let expire (Linux 6.2), not dropped as libfuse does it: a directory that is some program's current
one, or has another file system mounted in it, stays what it is, and is merely asked for again.
"""

from __future__ import annotations

import errno
import logging
import os
import struct
import threading
import time
from collections.abc import Callable
from typing import Final

import trio

from gravitonfs.fuse.handed import Leased, Noted

log = logging.getLogger("graviton.fuse")

_INODE: Final = 2
_ENTRY: Final = 3
_EXPIRE: Final = 1
_OUT: Final = struct.Struct("=IiQ")
_INODE_OUT: Final = struct.Struct("=Qqq")
_ENTRY_OUT: Final = struct.Struct("=QII")
_HARMLESS: Final = {errno.ENOENT, errno.ENOTDIR, errno.ENODEV, errno.ENOTCONN, errno.ECONNABORTED}
_SETTLES: Final = 0.05
"""An answer that is written is not used yet: the program that waits for it has to run first."""


def inode_message(ino: int) -> bytes:
    """Its attributes are to be asked for again."""
    return _OUT.pack(_OUT.size + _INODE_OUT.size, _INODE, 0) + _INODE_OUT.pack(ino, -1, 0)


def entry_message(parent: int, name: bytes) -> bytes:
    """The name is to be asked for again."""
    length = _OUT.size + _ENTRY_OUT.size + len(name) + 1
    return _OUT.pack(length, _ENTRY, 0) + _ENTRY_OUT.pack(parent, len(name), _EXPIRE) + name + b"\0"


class Expiry:
    """Of one mount. ``recall`` from any thread but the event loop's, ``forget`` from any.

    ``_lock`` guards that the kernel's device is open: a number of a file that is closed may be another's.
    """

    def __init__(self, handed: Leased, descriptor: Callable[[], int], numbered: Callable[[int], int]) -> None:
        """``descriptor``: of the kernel's device; ``numbered``: an inode as the kernel numbers it."""
        self._handed = handed
        self._descriptor = descriptor
        self._numbered = numbered
        self._lock = threading.Lock()
        self._token: trio.lowlevel.TrioToken | None = None
        """While requests are answered."""

    def start(self, token: trio.lowlevel.TrioToken) -> None:
        """Requests are answered from now on, on the loop of this token."""
        self._token = token

    def stop(self) -> None:
        """Before the device is closed."""
        with self._lock:
            self._token = None

    def recall(self) -> None:
        """When this returns, the kernel asks again for all that it was told: it was made to, or its time is
        over. Nothing more is handed out already."""
        noted = self._noted()
        if noted is None:
            return
        dropped = threading.Event()
        threading.Thread(target=self._drop, args=(noted, dropped), name="expiry", daemon=True).start()
        while not dropped.wait(0.05) and time.monotonic() < noted.until:
            pass  # a name whose directory has a request under way keeps the thread waiting
        if not dropped.is_set():
            log.info("the kernel is busy: what it keeps has run out")
        left = noted.uncounted - time.monotonic()
        if left > 0:
            log.info("the kernel keeps more than is taken back one by one: it runs out in %.0f s", left)
            time.sleep(left)

    def forget(self) -> None:
        """As ``recall``, but nobody waits for it."""
        threading.Thread(target=self.recall, name="forget", daemon=True).start()

    def _noted(self) -> Noted | None:
        """On the event loop: answers that were being made are with the kernel then. None: there are none."""
        token = self._token
        if token is None:
            return None
        noted: list[Noted] = []
        passed = threading.Event()

        def take() -> None:
            noted.append(self._handed.take())
            passed.set()

        try:
            token.run_sync_soon(take)
        except trio.RunFinishedError:
            return None
        while not passed.wait(0.5):
            if self._token is None:
                return None
        return noted[0]

    def _drop(self, noted: Noted, dropped: threading.Event) -> None:
        time.sleep(_SETTLES)
        with self._lock:
            if self._token is None or self._descriptor() < 0:
                dropped.set()
                return
            device = os.dup(self._descriptor())
        try:
            self._send_all(device, noted, dropped)
        finally:
            os.close(device)

    def _send_all(self, device: int, noted: Noted, dropped: threading.Event) -> None:
        start = time.monotonic()
        failed = 0
        for parent, name in noted.names:
            failed += _send(device, entry_message(parent, name))
        for ino in noted.inodes:
            failed += _send(device, inode_message(self._numbered(ino)))
        count = len(noted.names) + len(noted.inodes)
        if failed:
            log.warning("the kernel refused to drop %d of %d names and inodes: they run out", failed, count)
            return
        if count:
            log.info("%d names and inodes taken back in %.2f s", count, time.monotonic() - start)
        dropped.set()


def _send(device: int, message: bytes) -> bool:
    """True: refused. What the kernel does not know is no matter, nor is a mount that has ended."""
    try:
        os.write(device, message)
    except OSError as error:
        return error.errno not in _HARMLESS
    return False
