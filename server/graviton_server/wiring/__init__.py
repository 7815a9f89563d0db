"""Puts an engine together: the only place that knows the concrete adapters."""

from __future__ import annotations

import logging
import os
import threading
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType

from graviton_server.index.rocks import RocksIndex
from graviton_server.limits import LimitedBlockStore, Pace
from graviton_server.lock import DataLock, EngineDirectory
from graviton_server.maintenance.archive import Archive
from graviton_server.maintenance.backups import HeldByDumps
from graviton_server.maintenance.chores import Settings as UpkeepSettings
from graviton_server.maintenance.collect import EMBEDDED, SHARED
from graviton_server.maintenance.compact import Policy
from graviton_server.maintenance.counting import quotas_being_counted
from graviton_server.maintenance.fence import check_one, settle_fence
from graviton_server.maintenance.service import Maintenance
from graviton_server.maintenance.stores import Stores
from graviton_server.maintenance.trash import quotas_of_volumes
from graviton_server.maintenance.turns import Alone
from graviton_server.namespace.store import NamespaceStore
from graviton_server.packs.staged_store import StagedPackStore
from graviton_server.packs.store import PackStore
from graviton_server.packs.turning import TurningStore
from graviton_server.replication.repair import Repair
from graviton_server.replication.target import ReplicatedTarget
from graviton_server.replication.watch import Watch
from graviton_server.targets.directory import DirectoryTarget
from graviton_server.targets.staged import StagedTarget
from graviton_server.wiring.daily import Daily
from graviton_server.wiring.opened import NAMESPACE, STORE, OpenedNames
from graviton_server.wiring.options import EngineOptions
from graviton_server.wiring.targets import SHARD
from gravitonfs.content.attaching import attach_caching
from gravitonfs.content.diskcache.cache import DiskCache, open_cache
from gravitonfs.content.diskcache.store import CachedBlockStore
from gravitonfs.content.ingest import Waiting
from gravitonfs.content.lost import keep_unapplied
from gravitonfs.content.volume import Content, Volume
from gravitonfs.core.durable import sync_directory
from gravitonfs.core.format import VolumeFormat
from gravitonfs.errors import Exists, FormatError, GravitonError, NotADirectory, NotFound
from gravitonfs.ports.blocks import BlockStore
from gravitonfs.ports.namespace import Claims, Listener, Recall
from gravitonfs.ports.store import EngineNames
from gravitonfs.ports.target import RemoteTarget, Space, Target, close_target

log = logging.getLogger("graviton.engine")

MIB = 1 << 20
DUMPS = "dumps"
ENGINE = OWNER = "engine-0"


def create_embedded(path: Path, fmt: VolumeFormat | None = None) -> None:
    """Make ``path`` a volume. Durable, names included, when this returns.

    The database comes last and makes the volume: what a crash before it left is used up by the next
    try. Raises Exists when there is a volume, NotADirectory or Exists when something else is there.
    """
    fmt = fmt or VolumeFormat()
    fmt.check()
    if path.exists() and not path.is_dir():
        raise NotADirectory(f"{path} is no directory")
    path.mkdir(parents=True, exist_ok=True)
    if (path / NAMESPACE).exists():
        raise Exists(f"{path} is a volume already")
    foreign = {entry.name for entry in path.iterdir()} - {STORE, "packs", "lock", NAMESPACE + ".new"}
    if foreign:
        raise Exists(f"{path} is not empty (it has {min(foreign)}): choose an empty or a new directory")
    lock = DataLock(path / "lock")
    try:
        store_uuid = uuid.uuid4().bytes
        (path / STORE).unlink(missing_ok=True)
        DirectoryTarget.make(path, store_uuid)
        fresh = path / (NAMESPACE + ".new")
        fresh.unlink(missing_ok=True)
        NamespaceStore.create(fresh, fmt, store_uuid)
        os.rename(fresh, path / NAMESPACE)
        for directory in (path, path.parent):
            sync_directory(directory)
    finally:
        lock.release()


def is_volume(path: Path) -> bool:
    return (path / NAMESPACE).exists()


def open_embedded(path: Path, *, create: bool = False, options: EngineOptions | None = None) -> Engine:
    """Open the volume in a directory. Raises Locked (naming the pid), NotFound, FormatError."""
    options = options or EngineOptions()
    if not is_volume(path):
        if not create:
            raise NotFound(f"{path} is no volume: make one with 'graviton init {path}'")
        create_embedded(path)
    opened = OpenedNames(path, options)
    if not opened.store.replicas.targets():
        return Engine(path, options, opened)
    from graviton_server.wiring.replicated import open_with_targets

    return open_with_targets(path, options, opened)


class Engine:
    """An open store: namespace, packs, caches, background work. A context manager."""

    namespace_store: EngineNames
    target: DirectoryTarget | StagedTarget
    store: PackStore
    blocks: PackStore | TurningStore
    """What others use: ``store``, or what it is replaced in when a second target comes."""
    archive: Archive | None
    contents: tuple[Content, ...]
    shared = False
    """Other engines may be at work on the same store."""
    disk_cache: DiskCache | None = None
    replication: Watch | None = None
    """Where the store has several targets."""

    def __init__(self, path: Path, options: EngineOptions, opened: OpenedNames | None = None) -> None:
        self.path = path
        self.options = options
        self._opened = opened
        self.closed_last: list[Callable[[], None]] = []
        self._closers: list[Callable[[], None]] = [partial(self._run_closers, self.closed_last)]
        self.closed_before_store: list[Callable[[], None]] = []
        self.when_targets_come: list[Callable[[Target, Repair | None, str], None]] = []
        self.taking_targets = threading.Lock()
        try:
            self._open_stores()
            self._open_content()
        except BaseException:
            self._close()
            raise

    def _open_stores(self) -> None:
        opened = self._opened or OpenedNames(self.path, self.options)
        self._closers.append(opened.lock.release)
        self.namespace_store = opened.store
        self._closers.append(self.namespace_store.close)
        fmt = self.namespace_store.format
        self.target = DirectoryTarget(self.path, "local", store_uuid=self.namespace_store.store_uuid)
        self._closers.append(self.target.close)
        engine = self.path / ENGINE
        engine.mkdir(exist_ok=True)
        self.index = RocksIndex(engine / "index")
        self._closers.append(self.index.close)
        self.store = PackStore(
            self.target,
            self.index,
            self.namespace_store.packs,
            self.namespace_store.loose,
            store_uuid=self.namespace_store.store_uuid,
            owner=OWNER,
            pack_size=self.options.pack_size,
            block_key=fmt.block_key,
        )
        self._closers.append(self.store.close)
        self._closers.append(partial(self._run_closers, self.closed_before_store))
        self.blocks = TurningStore(self.store)
        self.recovery = self.store.recover()
        self.namespace_store.set_barrier(self.store.barrier)
        self.namespace_store.set_presync(self.store.presync)
        self._closers.append(self.namespace_store.commit)

    def _open_content(self) -> None:
        fmt = self.namespace_store.format
        upload = Pace(self.options.upload_limit) if self.options.upload_limit else None
        self.content = Content(
            self._front_store(upload),
            loose=self.namespace_store.loose,
            pace=upload,
            waiting=self._waiting(),
            dirty_limit=self.options.dirty_limit,
            cache_limit=self.options.cache_limit,
            near=not isinstance(self.target, StagedTarget),
            processors=self.options.processors,
        )
        self._closers.append(self.content.close)
        self._tell_of_packs(self.content)
        self._open_maintenance(fmt)

    def _open_maintenance(self, fmt: VolumeFormat) -> None:
        """Background work has caches of its own, and no rate limit but its own."""
        namespace, users = self.namespace_store, self.content
        self.archive = archive = self._archive()
        alone = Alone() if archive is None else HeldByDumps(archive, namespace.packs)
        content = Content(self.blocks, waiting=self._waiting(), dirty_limit=16 * MIB, cache_limit=24 * MIB)
        self._closers.append(content.close)
        self._tell_of_packs(content)
        self.contents = (users, content)

        def activity() -> object:
            cache = users.cache
            return namespace.upkeep.version(), cache.hits + cache.misses, users.dirty.used, users.passed

        self.maintenance = Maintenance(
            Stores(
                namespace.upkeep,
                namespace.packs,
                namespace.loose,
                self.blocks,
                self.target,
                fmt.block_key,
                self.owner,
                self._waiting() is not None,
                namespace.housekeeping or alone,
                namespace,
                None if self.replication is None else self.replication.repair,
                lambda: bool(namespace.replicas.router()),
                archive,
                lambda: quotas_of_volumes(namespace),
                lambda: quotas_being_counted(namespace),
                lambda volume, ino: namespace.quotas.check(volume, ino, repair=True),
            ),
            lambda: Volume(namespace.attach(label="maintenance", background=True), content),
            activity,
            self.path / DUMPS,
            self._settings(),
            self._caution,
        )
        self._closers.append(self.maintenance.close)
        if self.options.background:
            self.maintenance.start()

    def _archive(self) -> Archive | None:
        """None: shards keep packs and nothing else."""
        namespace = self.namespace_store
        if any(row.kind == SHARD for row in namespace.replicas.targets()):
            return None
        archive = Archive(self._backing(), namespace.store_uuid)
        settle_fence(archive.target, namespace.upkeep, namespace.store_uuid)
        if self.replication is not None:
            guard = partial(check_one, namespace.upkeep, namespace.store_uuid)
            self.replication.target.members.guard = guard
        return archive

    def volume(
        self,
        label: str,
        claims: Claims | None = None,
        listener: Listener | None = None,
        *,
        read_only: bool = False,
        recall: Recall | None = None,
        names: int = 0,
        name: str = "main",
    ) -> Volume:
        """Attach a front end to a volume; it closes the volume itself. NotFound. ``names``: so many bytes of
        names and attributes are kept in memory while it is alone."""
        namespace = attach_caching(
            partial(self.namespace_store.attach, name, label=label, claims=claims, read_only=read_only),
            names,
            listener,
            recall,
            self.content.names,
            claims,
        )
        if claims is not None:
            self.maintenance.ask_writing(claims)  # what is open is not sealed under its writers' hands
        volume = Volume(namespace, self.content)
        keep_unapplied(volume)
        return volume

    def background_volume(self, name: str) -> Volume:
        """For work that users do not see: it ends nobody's lease."""
        return Volume(self.namespace_store.attach(name, label="records", background=True), self.content)

    def _front_store(self, upload: Pace | None) -> BlockStore:
        """What front ends get: what the disk cache has costs nothing of the rate. Background work keeps to
        rates of its own."""
        store: BlockStore = self.blocks
        download = Pace(self.options.download_limit) if self.options.download_limit else None
        if upload is not None or download is not None:
            store = LimitedBlockStore(store, upload=upload, download=download)
        if self.options.disk_cache is not None:
            names = self.namespace_store
            self.disk_cache = open_cache(self.options.disk_cache, names.store_uuid, names.format.block_key)
            if self.disk_cache is not None:
                self._closers.append(self.disk_cache.close)
                store = CachedBlockStore(store, self.disk_cache)
        return store

    def _settings(self) -> UpkeepSettings:
        settings = self.options.maintenance or UpkeepSettings()
        settings = settings._replace(trash_days=self.options.trash_days)
        return settings if settings.compaction else settings._replace(compaction=self._policy())

    def _policy(self) -> Policy:
        return Policy()

    owner = OWNER
    _caution = EMBEDDED

    def _backing(self) -> Target:
        """Without what is staged on the way."""
        return self.target

    @property
    def home(self) -> Path:
        """A directory that no other process uses: commands find the process by it."""
        return self.path

    def _waiting(self) -> Waiting | None:
        """See ``Ingest``: not where packs are relied on while they are open."""
        return None

    def _tell_of_packs(self, content: Content) -> None:
        """Have those who wait for packs look again when one was stored."""

    def look_after(self, target: ReplicatedTarget) -> Watch:
        """Each job has a pack in memory."""
        settings = target.members.settings
        jobs = max(1, min(settings.jobs, self.options.memory // 8 // self.options.pack_size))
        repair = Repair(
            target, self.namespace_store.format.block_key, jobs=jobs, move_rate=settings.move_rate
        )
        watch = Watch(target, repair)
        self.closed_before_store.append(watch.stop)
        if self.options.background:
            watch.start()
        return watch

    def look_for_targets(self) -> bool:
        """Whether there are others than before, added by another engine of the store; they are used now."""
        from graviton_server.wiring.second_target import take_targets

        try:
            return take_targets(self)
        except GravitonError as error:
            log.warning("targets that were added cannot be used yet: %s", error)
            return False

    def space(self) -> Space:
        return self.target.space()

    def target_requests(self) -> Mapping[str, int]:
        """Requests to the target by kind, where it is behind a network."""
        remote = self.target.remote if isinstance(self.target, StagedTarget) else None
        return remote.requests() if isinstance(remote, RemoteTarget) else {}

    def close(self) -> None:
        """Commit everything and let go. Raises when something could not be stored. Idempotent."""
        self._close()

    def _close(self) -> None:
        self._run_closers(self._closers)

    @staticmethod
    def _run_closers(closers: list[Callable[[], None]]) -> None:
        first: GravitonError | None = None
        while closers:
            closer = closers.pop()
            try:
                closer()
            except GravitonError as error:
                log.error("closing: %s", error)
                first = first or error
        if first is not None:
            raise first

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_engine(
    namespace_store: EngineNames,
    target: Target,
    data: Path,
    options: EngineOptions | None = None,
    *,
    shared: bool = False,
    release: Callable[[], None] | None = None,
) -> TargetEngine:
    """An engine whose packs go up whole to ``target``, with its own files in ``data``/engine-<n>.

    ``shared``: other engines may be at work on the same store. The engine closes both that it is given,
    also when it cannot be opened, and calls ``release`` after that.
    """
    return TargetEngine(
        namespace_store, target, data, options or EngineOptions(), shared=shared, release=release
    )


class TargetEngine(Engine):
    """See ``open_engine``."""

    def __init__(
        self,
        namespace_store: EngineNames,
        target: Target,
        data: Path,
        options: EngineOptions,
        *,
        shared: bool,
        release: Callable[[], None] | None,
    ) -> None:
        self.namespace_store = namespace_store
        self.shared = shared
        self._release = release
        self._remote = target
        self._caution = SHARED if shared else EMBEDDED
        super().__init__(data, options)

    @property
    def home(self) -> Path:
        return self._directory.path if self.shared else self.path

    def _open_stores(self) -> None:
        if self._release is not None:
            self._closers.append(self._release)
        self._closers.append(self.namespace_store.close)
        self._closers.append(partial(close_target, self._remote))
        self._directory = directory = EngineDirectory(self.path)
        self._closers.append(directory.release)
        self.owner = directory.owner
        self.target = StagedTarget(self._remote, directory.path / "staging", self.options.dirty_limit)
        self._closers.append(self.target.close)
        self.index = RocksIndex(directory.path / "index")
        self._closers.append(self.index.close)
        sweep = None
        pack_size = self.options.pack_size
        if isinstance(self._remote, RemoteTarget):
            pack_size = min(pack_size, self._remote.max_object * 3 // 4)  # room for footer and trailer
            sweep = Daily(self._remote.sweep_uploads)
        self._staged = StagedPackStore(
            self.target,
            self.index,
            self.namespace_store.packs,
            self.namespace_store.loose,
            store_uuid=self.namespace_store.store_uuid,
            owner=self.owner,
            folder=directory.path / "footers",
            pack_size=pack_size,
            block_key=self.namespace_store.format.block_key,
            sweep=sweep,
        )
        self.store = self._staged
        self._closers.append(self.store.close)
        self._closers.append(partial(self._run_closers, self.closed_before_store))
        self.blocks = self.store
        self.recovery = self.store.recover()
        if self.shared and not isinstance(self._remote, ReplicatedTarget):
            self.target.look = self.look_for_targets
        if isinstance(self._remote, ReplicatedTarget):
            self.replication = self.look_after(self._remote)

    def _backing(self) -> Target:
        return self._remote

    def _waiting(self) -> Waiting | None:
        return self._staged.waiting

    def _tell_of_packs(self, content: Content) -> None:
        self._staged.when_stored(content.held.stored)

    def _policy(self) -> Policy:
        """Packs end with each sync here, so those that are merged are larger, too."""
        return Policy(small_bytes=self.options.pack_size // 4)


__all__ = [
    "NAMESPACE",
    "STORE",
    "Engine",
    "EngineOptions",
    "FormatError",
    "OpenedNames",
    "TargetEngine",
    "UpkeepSettings",
    "create_embedded",
    "is_volume",
    "open_embedded",
    "open_engine",
]
