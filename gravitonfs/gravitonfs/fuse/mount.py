"""Mounting: start, tune, serve, drain, unmount."""

from __future__ import annotations

import gc
import logging
import signal
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pyfuse3
import trio

from gravitonfs.content.caching_namespace import CachingNamespace
from gravitonfs.content.volume import Volume
from gravitonfs.core.ids import NO_INO, Ino
from gravitonfs.core.snapshots import DIRECTORY
from gravitonfs.errors import GravitonError, NotADirectory, NotFound, Unavailable
from gravitonfs.fuse import mountpoint as mountpoints
from gravitonfs.fuse import turns
from gravitonfs.fuse.attributes import Ownership
from gravitonfs.fuse.beside import Beside
from gravitonfs.fuse.expiry import Expiry
from gravitonfs.fuse.handed import Fixed, Leased, Times
from gravitonfs.fuse.kernel import KernelCaches
from gravitonfs.fuse.memory import keep_large_buffers
from gravitonfs.fuse.operations import Operations
from gravitonfs.fuse.passed import Passed, is_descriptor
from gravitonfs.ports.namespace import EVERYTHING, Change, Claims, Listener, Recall, Touched
from gravitonfs.ports.target import Space
from gravitonfs.vfs import lookups
from gravitonfs.vfs.uploads import Uploader
from gravitonfs.vfs.vfs import Vfs
from gravitonfs.vfs.writeback import WriteBack

log = logging.getLogger("graviton.fuse")

_SOLE_SECONDS = 3600.0
_SETTLE_SECONDS = 20.0
_LAST_LOOK_SECONDS = 1.0
"""To find that everything is stored takes a moment, even at the end of the time for it."""


@dataclass(frozen=True)
class MountOptions:
    """What a mount can be told. Seconds and bytes; None: as stored, or the default."""

    read_only: bool = False
    allow_other: bool = False
    subdir: str = ""
    uid: int | None = None
    gid: int | None = None
    umask: int | None = None
    timeout: float = 60.0
    drain_timeout: float = 300.0
    cache_seconds: float | None = _SOLE_SECONDS
    """How long the kernel may keep entries and attributes: long while one process owns the volume. None: as
    long as the session holds the volume's lease."""
    extra: tuple[str, ...] = field(default=())
    mounter: Path | None = None
    """The socket of who mounts for this process."""


Attach = Callable[[Claims, Listener, Recall], Volume]
"""Attaches the volume: who mounts must be asked about open inodes, told of others' changes, and asked to let
others in."""


class Mount:
    """One mount in this process. ``run`` blocks in the main thread; ``stop`` from any thread."""

    def __init__(
        self,
        attach: Attach,
        mountpoint: Path,
        options: MountOptions,
        *,
        space: Callable[[], Space] = lambda: Space(0, 0),
        describe: Callable[[], dict[str, object]] = dict,
    ) -> None:
        self.mountpoint = mountpoint
        self._options = options
        self._passed: Passed | None = None
        if options.mounter is None and not is_descriptor(mountpoint):
            mountpoints.prepare(mountpoint)
        self._stopped = False
        self._deadline: float | None = None
        self._away: Unavailable | None = None
        """What storing what is left has ended with: the time for it is over."""
        self._vfs: Vfs | None = None
        self._kernel: KernelCaches | None = None
        self._expiry: Expiry | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self.volume = attach(self._claims, self._changed, self._recalled)
        alone = turns.TURNS.alone
        beside = Beside(alone, lambda: turns.TURNS.descriptor)
        self.vfs = self._vfs = Vfs(
            self.volume, timeout=options.timeout, space=space, describe=describe, alone=alone, beside=beside
        )
        self._root = self._find_root()
        self._kernel = KernelCaches(self._root)
        self.vfs.files.given_up = self._kernel.written_in_vain
        self._times = self._make_times(options.cache_seconds)
        self._scope: trio.CancelScope | None = None

    def _make_times(self, seconds: float | None) -> Times:
        if seconds is not None:
            return Fixed(seconds)
        namespace = self.volume.namespace
        if not isinstance(namespace, CachingNamespace):
            return Fixed(0.0)  # others' changes are not known to the kernel
        handed = Leased(namespace.trusted_until, namespace.mark)
        self._expiry = Expiry(handed, lambda: turns.TURNS.descriptor, self._kernels)
        namespace.doubted = self._expiry.forget
        return handed

    def _kernels(self, ino: int) -> int:
        return int(pyfuse3.ROOT_INODE) if ino == self._root else ino

    def _recalled(self) -> None:
        """Another session waits. What was answered and waits to go with other changes is applied first."""
        if self._vfs is not None and self._token is not None:
            try:
                trio.from_thread.run(self._settle, self._vfs, trio_token=self._token)
            except (trio.RunFinishedError, trio.Cancelled):
                return
        if self._expiry is not None:
            self._expiry.recall()

    async def _settle(self, vfs: Vfs) -> None:
        with trio.move_on_after(_SETTLE_SECONDS):
            await vfs.files.settle_all()

    def _claims(self, ino: Ino) -> bool:
        return self._vfs is not None and self._vfs.claims(ino)

    def _changed(self, changes: list[Change] | tuple[Change, ...] | object) -> None:
        assert isinstance(changes, (list, tuple))
        if self._vfs is not None:
            self._vfs.changed(changes)
        if self._kernel is not None:
            if EVERYTHING in changes and self._vfs is not None:
                if self._expiry is not None:
                    self._expiry.forget()
                changes = [Change(Touched.DATA, ino, NO_INO, b"") for ino in self._vfs.open_files()]
            self._kernel.changed(changes)

    def _find_root(self) -> Ino:
        namespace = self.volume.namespace
        parts = [part for part in self._options.subdir.encode(errors="surrogateescape").split(b"/") if part]
        if not parts:
            return namespace.root
        found = namespace.resolve(parts)
        if parts[0] == DIRECTORY and len(found) == 1 < len(parts):
            raise NotFound(f"there is no snapshot {parts[1].decode(errors='replace')!r}")
        if len(found) < len(parts):
            raise NotFound(f"the volume has no directory {self._options.subdir}")
        if not stat.S_ISDIR(found[-1].mode):
            raise NotADirectory(f"{self._options.subdir} is no directory")
        return found[-1].ino

    def run(self, on_ready: Callable[[], None] = lambda: None) -> None:
        """Serve until the mount is taken away (fusermount3 -u), ``stop``, SIGTERM or SIGINT.

        Everything written is stored and committed before this returns; if that fails, it raises.
        """
        keep_large_buffers()
        turns.install()
        sys.setswitchinterval(0.0005)
        gc.freeze()  # what was imported stays: going through it takes as long as a listing of thousands
        options = set(pyfuse3.default_options) | {
            "fsname=graviton",
            "subtype=graviton",
            "default_permissions",
        }
        options |= set(self._options.extra)
        if self._options.allow_other:
            options.add("allow_other")
        if self._options.read_only:
            options.add("ro")
        shown = Ownership(self._options.uid, self._options.gid, self._options.umask)
        plain = (shown.uid, shown.gid, shown.umask) == (None, None, None)
        operations = Operations(self.vfs, self._times, root=self._root, shown=None if plain else shown)
        device = str(self.mountpoint)
        if self._options.mounter is not None:
            self._passed = Passed(self._options.mounter, options)
            device = self._passed.device
        try:
            pyfuse3.init(operations, device, options)
        except RuntimeError as error:
            raise Unavailable(f"{self.mountpoint} cannot be mounted: {error}") from error
        unmount = True
        try:
            trio.run(self._serve, on_ready)
            unmount = self._stopped
        finally:
            if self._kernel is not None:
                self._kernel.live = False
            if self._expiry is not None:
                self._expiry.stop()
            pyfuse3.close(unmount=unmount)
            if self._passed is not None:
                self._passed.close()
            self.volume.close()

    async def _serve(self, on_ready: Callable[[], None]) -> None:
        self._token = trio.lowlevel.current_trio_token()
        if self._expiry is not None:
            self._expiry.start(self._token)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_signals)
            nursery.start_soon(self._announce, on_ready)
            nursery.start_soon(WriteBack(self.vfs.files).run)
            if self.volume.journal is not None:
                nursery.start_soon(Uploader(self.vfs.files, self.volume.journal).run)
            nursery.start_soon(lookups.tend, self.vfs.lookups, self.vfs.let_go)
            await pyfuse3.main(min_tasks=8, max_tasks=64)
            nursery.cancel_scope.cancel()
        self.vfs.files.ahead.stop()
        if self._away is not None:
            raise self._away
        until = max(self._drain_until(), trio.current_time() + _LAST_LOOK_SECONDS)
        with trio.CancelScope(shield=True, deadline=until) as scope:
            await self.vfs.sync_all()
        if scope.cancelled_caught:
            raise Unavailable(f"{self.vfs.files.dirty_bytes} bytes could not be stored in time")

    async def _announce(self, on_ready: Callable[[], None]) -> None:
        """Once the kernel has been answered its first request, the mount answers."""
        await trio.to_thread.run_sync(self._tune, abandon_on_cancel=True)
        if self._kernel is not None:
            self._kernel.live = True
        await trio.to_thread.run_sync(on_ready, abandon_on_cancel=True)

    def _tune(self) -> None:
        self.mountpoint.stat()
        mountpoints.tune(mountpoints.device_of(self.mountpoint))
        if self._passed is not None:
            self._passed.live()

    async def _watch_signals(self) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async for number in signals:
                log.info("received %s: storing what is left", signal.Signals(number).name)
                self._stopped = True
                await self._drain()

    def _drain_until(self) -> float:
        """When what is left must have been stored; runs from when it is first asked for."""
        if self._deadline is None:
            self._deadline = trio.current_time() + self._options.drain_timeout
        return self._deadline

    async def _drain(self) -> None:
        """Store what is written while requests are still answered, then end the session."""
        try:
            with trio.move_on_at(self._drain_until()):
                await self.vfs.sync_all()
        except GravitonError as error:
            log.error("not everything could be stored: %s", error)
            self._away = error if isinstance(error, Unavailable) else None
        pyfuse3.terminate()

    @property
    def stopping(self) -> bool:
        """A signal or ``stop`` came: it stores what is left."""
        return self._stopped

    def stop(self) -> None:
        """Drain and unmount; ``run`` returns then. Any thread; idempotent."""
        if self._token is not None:
            self._stopped = True
            self._token.run_sync_soon(self._begin_stop)

    def _begin_stop(self) -> None:
        trio.lowlevel.spawn_system_task(self._drain)
