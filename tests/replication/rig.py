"""A store on three directories in two zones, each of which can be made to fail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from graviton_server.maintenance.chores import Settings as UpkeepSettings
from graviton_server.namespace.store import NamespaceStore
from graviton_server.replication.settings import Settings
from graviton_server.replication.target import ReplicatedTarget
from graviton_server.replication.watch import Watch
from graviton_server.wiring import EngineOptions, TargetEngine
from graviton_server.wiring.replicated import open_replicated, save_rows, save_settings
from graviton_server.wiring.targets import Location, new_row, open_target
from gravitonfs.content.volume import Volume
from gravitonfs.core.format import VolumeFormat
from gravitonfs.errors import GravitonError
from gravitonfs.ports.replicas import CopyState, TargetRow
from gravitonfs.ports.store import EngineNames
from gravitonfs.ports.target import AppendTarget, Target
from gravitonfs.testing.faulty import Faults, FaultyTarget, broken
from harness import contents

KIB, MIB = 1 << 10, 1 << 20
STORE = bytes(range(16))
AT_ONCE = UpkeepSettings(settled=0.0, idle=0.0, collect_rest=0.0, patience=0.0, bytes_per_second=0)
ZONES = {"a": "north", "b": "north", "c": "south"}


TWO = Settings(factor=2, min_zones=2, patience=5.0)
EVERYTHING = ("put", "get", "head", "delete", "list")
Make = Callable[..., "Store"]


class Store:
    """``faults``: by target. Opened again it goes on where it was."""

    def __init__(self, home: Path, settings: Settings, zones: dict[str, str] | None = None) -> None:
        self.home = home
        self.faults: dict[str, Faults] = {}
        self.engine: TargetEngine | None = None
        self.zones = dict(zones or ZONES)
        home.mkdir(parents=True, exist_ok=True)
        if self.is_made():
            return
        self.create()
        names = self.names()
        save_rows(names, [self.row(name) for name in self.zones])
        save_settings(names, settings)
        names.close()

    shared = False

    def is_made(self) -> bool:
        return (self.home / "names.db").exists()

    def create(self) -> None:
        NamespaceStore.create(self.home / "names.db", VolumeFormat(), STORE)

    def names(self) -> EngineNames:
        return NamespaceStore.open(self.home / "names.db")

    def row(self, name: str) -> TargetRow:
        return new_row(
            name, "directory", Location(path=str(self.path(name))), zone=self.zones.get(name, "north")
        )

    def path(self, name: str) -> Path:
        return self.home / f"target-{name}"

    def _opened(self, row: TargetRow) -> Target:
        inner = open_target(row, STORE)
        faults = self.faults.setdefault(row.name, Faults())
        appended: AppendTarget = inner  # type: ignore[assignment]  # directories all
        return FaultyTarget(appended, faults)

    def open(self, *, background: bool = False, pack_size: int = MIB) -> TargetEngine:
        options = EngineOptions(background=background, maintenance=AT_ONCE, pack_size=pack_size)
        self.engine = open_replicated(
            self.names(), self.home, options, shared=self.shared, opener=self._opened
        )
        return self.engine

    def close(self) -> None:
        if self.engine is not None:
            engine, self.engine = self.engine, None
            engine.close()

    def packs(self, name: str) -> list[Path]:
        return sorted((self.path(name) / "packs").rglob("*.pack"))

    def states(self) -> dict[str, dict[CopyState, int]]:
        """Packs by target and state."""
        assert self.engine is not None
        names = {row.number: row.name for row in self.engine.namespace_store.replicas.targets()}
        found: dict[str, dict[CopyState, int]] = {name: {} for name in names.values()}
        for tally in self.engine.namespace_store.replicas.tally():
            found[names[tally.target]][tally.state] = tally.packs
        return found

    @property
    def watch(self) -> Watch:
        assert self.engine is not None
        assert self.engine.replication is not None
        return self.engine.replication

    def healthy(self) -> bool:
        return all(set(states) <= {CopyState.STORED} for states in self.states().values())

    @property
    def target(self) -> ReplicatedTarget:
        assert self.engine is not None
        found = self.engine._remote
        assert isinstance(found, ReplicatedTarget)
        return found


def fail(store: Store, name: str, *methods: str, error: Callable[[], GravitonError] = broken) -> None:
    for method in methods or EVERYTHING:
        store.faults[name].fail(method, times=10**6, error=error)


def write(volume: Volume, name: str, data: bytes) -> None:
    contents.write(volume, name, data, durable=True)
