"""Mounts for a process without privileges (``passed``): opens /dev/fuse, mounts, passes the descriptor on.

One mount point, one client at a time, and a connection that stays as long as the client serves: when it
breaks, however the client ended, the mount is taken away, and the next client gets a new one. The descriptor
is not kept here: the kernel must notice the client's death, so that nobody waits for an answer of the dead. A
mounter that died itself leaves the mount with its client; the next one takes it away once that is dead, too.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Final

from gravitonfs.errors import AccessDenied, Busy, GravitonError, Unavailable
from gravitonfs.fuse import mountpoint as mountpoints

log = logging.getLogger("graviton.mounter")

DEVICE: Final = "/dev/fuse"
LIVE: Final = b"live"
"""What a client says once it answers."""
FAILED: Final = b"!"
ALLOW_OTHER: Final = "allow_other"
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _DETACH = 1, 2, 4, 8, 2
FLAGS: Final = {"ro": _RDONLY, "nosuid": _NOSUID, "nodev": _NODEV, "noexec": _NOEXEC}
_LONGEST: Final = 4096
_ASKS_WITHIN: Final = 10.0
_CREDENTIALS: Final = struct.Struct("3i")


class Mounter:
    """Listens at ``place``, which ``user`` (uid, gid) may use beside who runs this."""

    def __init__(
        self, place: Path, mountpoint: Path, *, user: tuple[int, int] | None, allow_other: bool
    ) -> None:
        self._place = place
        # Without asking whoever is behind it, who may be dead or not answer yet.
        self._mountpoint = mountpoint.parent.resolve() / mountpoint.name
        self._user = user or (os.getuid(), os.getgid())
        self._allow_other = allow_other
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._serving = False
        self._stopping = False
        self._listener = self._listen()

    def _listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
                probe.connect(str(self._place))
            raise Busy(f"another mounter listens at {self._place}")
        except (FileNotFoundError, ConnectionRefusedError):
            self._place.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            listener.bind(str(self._place))
        finally:
            os.umask(before)
        os.chown(self._place, *self._user)
        listener.listen()
        return listener

    def serve(self, on_ready: Callable[[], None]) -> None:
        """Until SIGTERM or SIGINT; a client that is served then is waited for."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        on_ready()
        try:
            while not self._stopping:
                client, _ = self._listener.accept()
                self._serving = True
                with client:
                    self._answer(client)
                self._serving = False
        except KeyboardInterrupt:
            pass
        finally:
            self._listener.close()
            self._place.unlink(missing_ok=True)

    def _stop(self, number: int, _: FrameType | None) -> None:
        self._stopping = True
        if not self._serving:
            raise KeyboardInterrupt

    def _answer(self, client: socket.socket) -> None:
        try:
            device = self._mounted_for(client)
        except (GravitonError, OSError) as error:
            log.warning("not mounted: %s", error)
            self._tell(client, FAILED + str(error).encode(errors="replace"))
            return
        log.info("%s is served by process %d", self._mountpoint, _peer(client)[0])
        try:
            client.settimeout(None)
            while said := client.recv(_LONGEST):
                if said == LIVE:
                    mountpoints.tune(device)
        except OSError:
            pass  # as if it had closed the connection
        finally:
            self._take_away(device)

    def _mounted_for(self, client: socket.socket) -> str:
        """Mount as the client asks, and pass it the descriptor; returns the mount's device."""
        pid, uid, gid = _peer(client)
        if uid not in (0, os.getuid(), self._user[0]):
            raise AccessDenied(f"user {uid} (process {pid}) may not mount here")
        client.settimeout(_ASKS_WITHIN)
        options = set(client.recv(_LONGEST).decode().split(","))
        if ALLOW_OTHER in options and not self._allow_other:
            raise AccessDenied("allow_other: the mounter was not started with --allow-other")
        mountpoints.prepare(self._mountpoint)
        descriptor = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
        try:
            self._mount(descriptor, options, uid, gid)
            device = mountpoints.device_at(str(self._mountpoint))
            try:
                socket.send_fds(client, [b"mounted"], [descriptor])
            except OSError:
                self._take_away(device)
                raise
        finally:
            os.close(descriptor)
        return device

    def _mount(self, descriptor: int, options: set[str], uid: int, gid: int) -> None:
        data = f"fd={descriptor},rootmode=40000,user_id={uid},group_id={gid},default_permissions"
        if ALLOW_OTHER in options:
            data += ",allow_other"
        flags = _NOSUID | _NODEV
        for name, flag in FLAGS.items():
            flags |= flag if name in options else 0
        target = os.fsencode(self._mountpoint)
        done = self._libc.mount(b"graviton", target, b"fuse.graviton", ctypes.c_ulong(flags), data.encode())
        if done:
            reason = os.strerror(ctypes.get_errno())
            raise Unavailable(f"{self._mountpoint} cannot be mounted: {reason}")

    def _take_away(self, device: str) -> None:
        """The mount of ``device``, and no other: one may have been made over it, or it may have gone."""
        if device and mountpoints.device_at(str(self._mountpoint)) == device:
            self._libc.umount2(os.fsencode(self._mountpoint), _DETACH)
            log.info("%s is taken away", self._mountpoint)

    @staticmethod
    def _tell(client: socket.socket, text: bytes) -> None:
        try:
            client.send(text[:_LONGEST])
        except OSError as error:
            log.debug("the client has gone: %s", error)


def _peer(client: socket.socket) -> tuple[int, int, int]:
    """(pid, uid, gid) of who connected."""
    told = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(told)
    return pid, uid, gid
