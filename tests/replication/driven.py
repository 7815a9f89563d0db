"""An engine in a process of its own, which takes orders and can be killed at any of its durable steps.

A process that has imported everything (``Forks``) forks one for each engine.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import wraps
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from blake3 import blake3

from graviton_server import wiring
from graviton_server.maintenance import backup
from graviton_server.maintenance.collect import Caution, give_up
from graviton_server.maintenance.mark import Mark, rows_of
from graviton_server.maintenance.marking import mark_live
from graviton_server.maintenance.stores import Stores
from graviton_server.maintenance.work import Work
from graviton_server.namespace.postgres.store import PostgresStore
from graviton_server.namespace.postgres.store import Settings as PostgresSettings
from graviton_server.packs.footers import read_footer
from graviton_server.packs.format import pack_key
from graviton_server.replication import repair
from graviton_server.targets.directory import DirectoryTarget
from gravitonfs.content.ingest import Piece, Stored
from gravitonfs.core.format import VolumeFormat
from gravitonfs.core.ids import BlockId, PackNumber
from gravitonfs.core.snapshots import DIRECTORY
from gravitonfs.errors import GravitonError, MissingBlocks
from gravitonfs.ports.ops import Batch, Clone, Create, Rename, Reply, Unlink, Write
from gravitonfs.ports.packs import PackState
from gravitonfs.ports.store import EngineNames
from gravitonfs.testing.faulty import Faults, broken, full
from harness.contents import lookup, noise
from harness.programs import ROOT, environment
from harness.waiting import wait_until
from replication.rig import STORE, TWO, Store, fail

KEY = b"the engine and its driver"
PACK = 512 << 10
DURABLE_STEPS = {
    "packs": ("begin", "publish", "abandon", "condemn", "deleting", "deleted", "sealed"),
    "replicas": ("stored", "bad", "want", "leave", "claim", "finished"),
    "target": ("put", "delete"),
}


class PackFacts(NamedTuple):
    number: int
    uuid: bytes
    state: PackState
    length: int


class Facts(NamedTuple):
    """``files``, ``snapshots``: digests by name. ``homeless``: blocks that something names and that are
    neither loose nor in a live pack, by what its object says on some target."""

    files: dict[str, bytes]
    snapshots: dict[str, dict[str, bytes]]
    packs: list[PackFacts]
    homeless: dict[str, str]


class PostgresRig(Store):
    """As ``Store``, with its names in PostgreSQL."""

    shared = True

    def __init__(self, home: Path, conninfo: str) -> None:
        self.settings = PostgresSettings(conninfo, pool_size=4)
        super().__init__(home, TWO)

    def is_made(self) -> bool:
        return (self.home / "made").exists()

    def create(self) -> None:
        PostgresStore.create(self.settings, VolumeFormat(), STORE)
        (self.home / "made").touch()

    def names(self) -> EngineNames:
        return PostgresStore.open(self.settings)


class Countdown:
    """Kills this process before or after one of its durable steps: each of them counts twice."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left = -1

    def arm(self, steps: int) -> None:
        with self._lock:
            self._left = steps

    def _tick(self) -> None:
        with self._lock:
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
                threading.Event().wait()
            self._left -= self._left > 0

    def around(self, owner: object, method: str) -> None:
        inner = getattr(owner, method)

        @wraps(inner)
        def step(*args: Any, **kwargs: Any) -> Any:
            self._tick()
            result = inner(*args, **kwargs)
            self._tick()
            return result

        setattr(owner, method, step)


class Driver:
    """The engine's side. Every method is an order; what it answers is sent back."""

    def __init__(self, home: Path, conninfo: str | None, faults: dict[str, str]) -> None:
        self.store = Store(home, TWO) if conninfo is None else PostgresRig(home, conninfo)
        self.countdown = Countdown()
        for name, kind in faults.items():
            self.store.faults[name] = Faults()
            self.strike(name, kind)
        self.engine = self.store.open(pack_size=PACK)
        names = self.engine.namespace_store
        owners = {"packs": names.packs, "replicas": names.replicas, "target": self.store.target}
        for owner, methods in DURABLE_STEPS.items():
            for method in methods:
                self.countdown.around(owners[owner], method)
        self.volume = self.engine.volume("test")
        self.root = self.volume.namespace.root
        self.stores = Stores(
            names.upkeep, names.packs, names.loose, self.engine.store, self.engine.target,
            owner=self.engine.owner, copies=self.store.watch.repair,
        )  # fmt: skip
        self.held: tuple[bytes, list[Piece], Stored] | None = None
        self.mark: Mark | None = None
        self.sent: tuple[list[Batch], list[Reply]] | None = None
        self.footers: dict[bytes, frozenset[BlockId]] = {}
        self._listen()

    def _listen(self) -> None:
        namespace: Any = self.volume.namespace
        inner = namespace.apply

        def apply(batches: Any, *, durable: bool) -> Any:
            replies = inner(batches, durable=durable)
            self.sent = list(batches), list(replies)
            return replies

        namespace.apply = apply
        self._apply = inner

    # --- changes ---

    def put(self, name: str, size: int, seed: int, durable: bool) -> None:
        with self.volume.stage(mode=0o644, uid=0, gid=0) as staged:
            staged.write(noise(size, seed))
            staged.publish(self.root, name.encode(), durable=durable)

    def patch(self, name: str, at: int, size: int, seed: int, durable: bool) -> None:
        writer = self.volume.writer(lookup(self.volume, name))
        writer.write(at, noise(size, seed))
        writer.flush(durable=durable)

    def clone(self, name: str, copy: str, durable: bool) -> None:
        attr = lookup(self.volume, name)
        op = Clone(attr.ino, self.root, copy.encode(), self.volume.new_ino(), 0, 0)
        self.volume.submit(op, durable=durable)

    def rename(self, name: str, new: str, durable: bool) -> None:
        self.volume.submit(Rename(self.root, name.encode(), self.root, new.encode()), durable=durable)

    def unlink(self, name: str, durable: bool) -> None:
        self.volume.submit(Unlink(self.root, name.encode()), durable=durable)

    def commit(self) -> None:
        self.volume.commit()

    def snapshot(self, name: str) -> None:
        self.engine.namespace_store.create_snapshot("main", name)

    def drop_snapshot(self, name: str) -> None:
        self.engine.namespace_store.delete_snapshot("main", name)

    def dump(self, name: str) -> None:
        self.engine.maintenance.retain_dump(name)

    def drop_dump(self, name: str) -> None:
        self.engine.maintenance.drop_dump(name)

    def begin_write(self, size: int, seed: int) -> None:
        """A writer cuts, asks and puts; the batch comes later."""
        data = noise(size, seed)
        ingest = self.volume.ingest
        lengths = ingest.chunker().cut(memoryview(data), final=True)
        pieces = ingest.hash_pieces(0, memoryview(data), lengths)
        stored = ingest.store_pieces(pieces)
        self.engine.store.sync(stored.packs)
        self.held = data, pieces, stored

    def finish_write(self, name: str) -> None:
        """Named in one batch; it is refused where packs went away meanwhile, and they are stored again."""
        assert self.held is not None
        data, pieces, stored = self.held
        ingest, ino = self.volume.ingest, self.volume.new_ino()

        def ops(extents: Any) -> Any:
            create = Create(self.root, name.encode(), ino, 0o100644, 0, 0)
            return create, Write(ino, extents, len(data))

        live = {row.number for row in rows_of(self.stores.packs) if row.state is PackState.LIVE}
        try:
            ingest.apply(stored, ops(stored.extents), durable=True)
            assert set(stored.packs) <= live, "a batch was applied that relies on a pack that is not live"
        except MissingBlocks as refusal:
            self.engine.store.forget_packs(list(refusal.packs))
            ingest.commit_pieces(pieces, ops, durable=True)
        self.held = None

    def repeat(self) -> None:
        """The last batches come again, as after a lost answer."""
        if self.sent is not None:
            batches, replies = self.sent
            again = self._apply(batches, durable=False)
            assert [reply[:3] for reply in again] == [reply[:3] for reply in replies]

    # --- upkeep ---

    def drain(self) -> None:
        self.engine.store.drain_loose()

    def seal(self) -> None:
        self.engine.store.seal_open()

    def collect(self) -> None:
        assert self.engine.maintenance.collect().missing == 0

    def settle(self) -> None:
        assert self.engine.maintenance.settle(60)

    def begin_collection(self) -> None:
        self.stores.upkeep.reap(10_000)
        self.mark = mark_live(self.stores, Work())

    def finish_collection(self) -> None:
        """Condemn by a mark that is as old as it is."""
        mark, self.mark = self.mark, None
        if mark is not None:
            dead = [
                number for number, pack in mark.packs.items() if not pack.live and number not in mark.held
            ]
            held = self._held_by_dumps()
            dead = [number for number in dead if number not in held]
            give_up(self.stores, dead, mark, Work())

    def _held_by_dumps(self) -> frozenset[PackNumber]:
        """Collection takes them for roots; a mark made here knows nothing of files of dumps."""
        needed = {block for _, block in self._dumped()}
        rows = [row for row in rows_of(self.stores.packs) if row.state is PackState.LIVE]
        return frozenset(row.number for row in rows if needed & self._records(row.uuid))

    def rebuild_index(self) -> None:
        self.engine.maintenance.check(rebuild_index=True)

    def check(self) -> list[str]:
        found = self.engine.maintenance.check(read_data=True).findings
        return [f"{finding.kind}: {finding.what}" for finding in found if finding.is_damage]

    def repair(self) -> dict[str, list[str]]:
        """All there is to do for the copies; states of each target's that are not as they should be."""
        for member in self.store.target.members.all():
            member.works()
        self.engine.maintenance.scrub()
        assert self.store.watch.round().failed == 0
        return {
            name: [state.value for state in states if state.value != "stored"]
            for name, states in self.store.states().items()
        }

    def strike(self, name: str, kind: str) -> None:
        match kind:
            case "fails":
                fail(self.store, name)
            case "full":
                fail(self.store, name, "put", error=full)
            case "now and then":
                for method in ("put", "get", "delete"):
                    for at in range(1, 60, 3):
                        self.store.faults[name].fail(method, on=at, error=broken, after=at % 2 == 0)

    def heal(self) -> None:
        for faults in self.store.faults.values():
            faults.heal()

    def arm(self, steps: int) -> None:
        self.countdown.arm(steps)

    def close(self) -> None:
        self.volume.close()
        self.store.close()

    # --- facts ---

    def facts(self) -> Facts:
        entries = self.volume.namespace.entries(self.root, None, 10_000)
        files = {entry.name.decode(): self._digest(entry.attr) for entry in entries}
        snapshots = {}
        for row in self.engine.namespace_store.snapshot_rows("main"):
            past = self.volume.namespace.resolve([DIRECTORY, row.name.encode()])[-1]
            found = self.volume.namespace.entries(past.ino, None, 10_000)
            snapshots[row.name] = {entry.name.decode(): self._digest(entry.attr) for entry in found}
        packs = [PackFacts(row.number, row.uuid, row.state, row.length) for row in rows_of(self.stores.packs)]
        return Facts(files, snapshots, packs, self._homeless(packs))

    def _digest(self, attr: Any) -> bytes:
        self.engine.content.cache.clear()
        data = bytes(self.volume.reader(attr).read(0, attr.size)) if attr.size else b""
        assert len(data) == attr.size
        return blake3(data).digest()

    def _homeless(self, packs: list[PackFacts]) -> dict[str, str]:
        at_home = set(self.stores.upkeep.loose_ids())
        for pack in packs:
            if pack.state is PackState.LIVE:
                at_home |= self._records(pack.uuid)
        return {block.hex(): what for what, block in self._named() if block not in at_home}

    def _named(self) -> Iterator[tuple[str, BlockId]]:
        for page in self.stores.upkeep.extent_rows():
            for row in page:
                for extent in row.extents:
                    if any(extent.block):
                        yield f"content {row.content}", extent.block
        yield from self._dumped()

    def _dumped(self) -> Iterator[tuple[str, BlockId]]:
        for path in backup.retained(self.engine.path / wiring.DUMPS):
            for block in backup.dumped_blocks(backup.file_pieces(path)):
                yield f"dump {path.name}", block

    def _records(self, uuid: bytes) -> frozenset[BlockId]:
        """As the pack itself says, past all wrappers, rows and indexes."""
        if uuid not in self.footers:
            key = pack_key(uuid)
            for name in self.store.zones:
                target = DirectoryTarget(self.store.path(name), name, STORE)
                try:
                    records = read_footer(target, key)
                    self.footers[uuid] = frozenset(records.id(at) for at in range(len(records)))
                    break
                except GravitonError:
                    continue
                finally:
                    target.close()
        return self.footers.get(uuid, frozenset())


class Died(Exception):
    """The engine's process is gone."""


class Engine:
    """The tests' side of a ``Driver``: its methods, through a connection."""

    def __init__(self, address: Path, home: Path, conninfo: str | None, faults: dict[str, str]) -> None:
        self._connection: Connection = Client(str(address), family="AF_UNIX", authkey=KEY)
        self._connection.send((home, conninfo, faults))
        self.pid: int = self._connection.recv()
        self._answer()

    def _answer(self) -> Any:
        try:
            good, answer = self._connection.recv()
        except (EOFError, ConnectionError):
            raise Died from None
        if not good:
            raise answer
        return answer

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            try:
                self._connection.send((method, args))
            except (BrokenPipeError, ConnectionError):
                raise Died from None
            return self._answer()

        return call

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self.gone()

    def gone(self) -> None:
        """Returns when the process has ended and let go of its locks."""
        wait_until(lambda: not Path(f"/proc/{self.pid}").exists(), "the engine's process to end")
        self._connection.close()


class Forks:
    """The process that has imported everything."""

    def __init__(self, scratch: Path) -> None:
        self.address = scratch / "forks"
        env = environment()
        env["PYTHONPATH"] += os.pathsep + str(ROOT / "tests")
        # By the module's own name, for pickles.
        code = f"from replication.driven import serve; serve({str(self.address)!r})"
        with (scratch / "log").open("wb") as log:
            self._process = subprocess.Popen([sys.executable, "-c", code], env=env, stderr=log)
        wait_until(self.address.exists, "the process that forks")

    def engine(self, home: Path, conninfo: str | None, faults: dict[str, str]) -> Engine:
        return Engine(self.address, home, conninfo, faults)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(30)


def serve(address: str) -> NoReturn:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children that were killed leave nothing behind
    wiring.SHARED = Caution()  # who collects here knows that nobody writes meanwhile
    repair._CLAIMED = 0.0  # and who repairs, that the one before it is dead
    with Listener(address, family="AF_UNIX", authkey=KEY) as listener:
        while True:
            connection = listener.accept()
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _obey(connection)
            connection.close()


def _obey(connection: Connection) -> NoReturn:
    status = 1
    try:
        connection.send(os.getpid())
        driver = _answered(connection, Driver, connection.recv())
        while driver is not None:
            method, args = connection.recv()
            _answered(connection, getattr(driver, method), args)
            if method == "close":
                status = 0
                break
    except EOFError:
        pass
    finally:
        os._exit(status)


def _answered(connection: Connection, call: Callable[..., Any], args: Any) -> Any:
    try:
        result = call(*args)
    except Exception as error:  # noqa: BLE001  # told to the test
        connection.send((False, error if isinstance(error, GravitonError) else AssertionError(_told(error))))
        return None
    connection.send((True, None if call is Driver else result))
    return result


def _told(error: Exception) -> str:
    import traceback

    return "".join(traceback.format_exception(error))
