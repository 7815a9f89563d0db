"""A volume on a real disk, with small packs, whose maintenance runs only when a test says so."""

from __future__ import annotations

import random
from pathlib import Path

from graviton_server.maintenance.chores import Settings
from graviton_server.maintenance.compact import Policy
from graviton_server.maintenance.service import Maintenance
from graviton_server.maintenance.stores import Stores
from graviton_server.packs.format import pack_key
from graviton_server.wiring import Engine, EngineOptions, open_embedded
from gravitonfs.core.ids import PackNumber
from gravitonfs.ports.ops import Attr, Clone, Create, Unlink
from gravitonfs.ports.packs import PackRow, PackState

MIB = 1 << 20
PACK = 2 * MIB
AT_ONCE = Settings(
    settled=0.0,
    idle=0.0,
    collect_rest=0.0,
    patience=0.0,
    bytes_per_second=0,
    compaction=Policy(small_bytes=PACK // 8),
)


def noise(size: int, seed: int = 0) -> bytes:
    """Incompressible, and the same for the same arguments."""
    return random.Random(seed).randbytes(size)


class Rig:
    def __init__(self, path: Path, *, background: bool = False, settings: Settings = AT_ONCE) -> None:
        self.path = path
        self._options = EngineOptions(background=background, maintenance=settings, pack_size=PACK)
        self.engine: Engine
        self.maintenance: Maintenance
        self.open()

    def open(self) -> None:
        self.engine = open_embedded(self.path, create=True, options=self._options)
        self.maintenance = self.engine.maintenance
        self.volume = self.engine.volume("test")
        self.root = self.volume.namespace.root
        self.stores = self.stores_of(self.engine)

    @staticmethod
    def stores_of(engine: Engine) -> Stores:
        names = engine.namespace_store
        return Stores(names.upkeep, names.packs, names.loose, engine.store, engine.target)

    def close(self) -> None:
        self.volume.close()
        self.engine.close()

    def reopen(self) -> None:
        """Everything that was open is sealed by this."""
        self.close()
        self.open()

    def put(self, name: str, data: bytes) -> Attr:
        with self.volume.stage(mode=0o644, uid=0, gid=0) as staged:
            staged.write(data)
            return staged.publish(self.root, name.encode())

    def create(self, name: str) -> Attr:
        return self.volume.submit_for_attr(
            Create(self.root, name.encode(), self.volume.new_ino(), 0o100644, 0, 0)
        )

    def patch(self, name: str, offset: int, data: bytes, *, durable: bool = False) -> None:
        writer = self.volume.writer(self.attr(name))
        writer.write(offset, data)
        writer.flush(durable=durable)

    def clone(self, name: str, copy: str) -> None:
        attr = self.attr(name)
        self.volume.submit(Clone(attr.ino, self.root, copy.encode(), self.volume.new_ino(), 0, 0))

    def unlink(self, name: str) -> None:
        self.volume.submit(Unlink(self.root, name.encode()))

    def attr(self, name: str) -> Attr:
        attr = self.volume.namespace.lookup(self.root, name.encode())
        assert attr is not None
        return attr

    def names(self) -> list[str]:
        return [entry.name.decode() for entry in self.volume.namespace.entries(self.root, None, 10_000)]

    def read(self, name: str) -> bytes:
        attr = self.attr(name)
        return bytes(self.volume.reader(attr).read(0, attr.size))

    def read_cold(self, name: str) -> bytes:
        self.engine.content.cache.clear()
        return self.read(name)

    def stored(self) -> int:
        """Bytes of all packs on the disk."""
        return sum(path.stat().st_size for path in self.path.glob("packs/*/*.pack"))

    def packs(self) -> list[PackRow]:
        return [row for row in self.engine.namespace_store.packs.rows() if row.state is PackState.LIVE]

    def pack_file(self, number: PackNumber) -> Path:
        row = self.engine.namespace_store.packs.get(number)
        assert row is not None
        return self.path / pack_key(row.uuid)

    def assert_sound(self) -> None:
        findings = self.maintenance.check(read_data=True).findings
        assert not findings, findings
