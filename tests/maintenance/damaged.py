"""Volumes whose database can be damaged as a failing disk or a careless hand would, on either engine."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import psycopg

from graviton_server.namespace.postgres.store import PostgresStore
from graviton_server.packs.format import pack_key
from graviton_server.targets.directory import DirectoryTarget
from graviton_server.wiring import EngineOptions, open_engine
from gravitonfs.core.ids import Ino, PackNumber
from gravitonfs.errors import GravitonError
from gravitonfs.ports.ops import Attr, Create
from harness.postgres import PostgresServer
from maintenance.rig import AT_ONCE, PACK, Rig
from namespace.postgres_stores import PostgresStores

STORE = b"store uuid 16 by"
Tree = dict[str, tuple[int, int, int, bytes | str]]


class SqliteRig(Rig):
    """``doubled``: SQL of a name written twice."""

    doubled = "CAST(name || name AS BLOB)"

    def sql(self, *statements: str) -> None:
        """Past everything, while nobody has the volume open."""
        self.close()
        with sqlite3.connect(self.path / "namespace.db") as connection:
            for statement in statements:
                connection.execute(statement)
        connection.close()
        self.open()

    def objects(self) -> Path:
        return self.path

    def end(self) -> None:
        self.close()


class PostgresRig(SqliteRig):
    doubled = "name || name"

    def __init__(self, path: Path, server: PostgresServer) -> None:
        self._stores = PostgresStores(server)
        path.mkdir()
        (path / "objects").mkdir()
        DirectoryTarget.make(path / "objects", STORE).close()
        super().__init__(path)

    def open(self) -> None:
        options = EngineOptions(background=False, maintenance=AT_ONCE, pack_size=PACK)
        target = DirectoryTarget(self.path / "objects", "local", STORE)
        names = PostgresStore.open(self._stores.settings)
        self.engine = open_engine(names, target, self.path, options, shared=True)
        self.maintenance = self.engine.maintenance
        self.volume = self.engine.volume("test")
        self.root = self.volume.namespace.root
        self.stores = self.stores_of(self.engine)

    def sql(self, *statements: str) -> None:
        self.close()
        with psycopg.connect(self._stores.settings.conninfo) as connection:
            for statement in statements:
                connection.execute(statement.encode())
        self.open()

    def objects(self) -> Path:
        return self.path / "objects"

    def pack_file(self, number: PackNumber) -> Path:
        row = self.engine.namespace_store.packs.get(number)
        assert row is not None
        return self.objects() / pack_key(row.uuid)

    def end(self) -> None:
        self.close()
        self._stores.close()


def mkdir(rig: Rig, name: str, parent: Ino | None = None) -> Attr:
    return rig.volume.submit_for_attr(
        Create(parent or rig.root, name.encode(), rig.volume.new_ino(), stat.S_IFDIR | 0o755, 0, 0)
    )


def put(rig: Rig, parent: Ino, name: str, data: bytes) -> Attr:
    with rig.volume.stage(mode=0o644, uid=0, gid=0) as staged:
        staged.write(data)
        return staged.publish(parent, name.encode())


def tree(rig: Rig, parent: Ino | None = None, prefix: str = "") -> Tree:
    """Mode, links, size and bytes of everything by path; the error in place of bytes that cannot be read."""
    rig.engine.content.cache.clear()
    found: Tree = {}
    for entry in rig.volume.namespace.entries(parent or rig.root, None, 1000):
        path, attr = f"{prefix}/{entry.name.decode()}", entry.attr
        data: bytes | str = b""
        if stat.S_ISREG(attr.mode) and attr.size:
            try:
                data = bytes(rig.volume.reader(attr).read(0, attr.size))
            except GravitonError as error:
                data = type(error).__name__
        found[path] = attr.mode, attr.nlink, attr.size, data
        if stat.S_ISDIR(attr.mode):
            found |= tree(rig, attr.ino, path)
    return found
