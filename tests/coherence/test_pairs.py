"""Two front ends of one volume: what one has answered, the other shows; races have one winner.

One table of pairs (``conftest.PAIRS``), one meaning. Front ends lack some calls: each test says which pairs
it is for.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing as closed
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from coherence.conftest import PAIRS
from coherence.sides import MountSide, Mover, Side, closing
from coherence.stores import Pair

T = TypeVar("T")

pytestmark = pytest.mark.mount

ALL = list(PAIRS)
MOVERS = [name for name in ALL if "HTTP" not in name]
MOUNTS = [name for name in ALL if "mounts" in name]
WITH_MOUNT = [name for name in ALL if "mount" in name]


def of(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("pair", names, indirect=True, scope="module")


@pytest.fixture
def sides(pair: Pair) -> Iterator[tuple[Side, Side]]:
    with closing(pair.one()) as one, closing(pair.other()) as other:
        yield one, other


def at_once(*actions: Callable[[], T]) -> list[T]:
    """What each returned; they begin together. What one raises fails the test."""
    barrier = threading.Barrier(len(actions))
    answers: dict[int, T] = {}
    failures: list[BaseException] = []

    def run(index: int, action: Callable[[], T]) -> None:
        try:
            barrier.wait(30)
            answers[index] = action()
        except BaseException as error:  # noqa: BLE001  # raised by the caller
            failures.append(error)

    threads = [threading.Thread(target=run, args=item) for item in enumerate(actions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    if failures:
        raise failures[0]
    return [answers[index] for index in range(len(actions))]


# --- what was answered is seen ---------------------------------------------------------------------------


@of(*ALL)
def test_bytes_and_sizes(pair: Pair, sides: tuple[Side, Side]) -> None:
    name = f"{pair.directory()}/f"
    for turn in range(12):
        writer, reader = sides if turn % 2 else sides[::-1]
        data = b"%06d" % turn * [1, 1, 1, 700, 1, 60_000][turn % 6]  # mostly of one length
        writer.put(name, data)
        assert reader.size(name) == len(data)
        assert reader.get(name) == data
        assert writer.get(name) == data


@of(*ALL)
def test_names_come_and_go(pair: Pair, sides: tuple[Side, Side]) -> None:
    where = pair.directory()
    for turn in range(6):
        maker, looker = sides if turn % 2 else sides[::-1]
        file, folder = f"{where}/f{turn}", f"{where}/d{turn}"
        for name in (file, folder):
            assert looker.size(name) is None
            assert maker.size(name) is None
        assert maker.create(file, b"x")
        assert not looker.create(file, b"y")
        assert looker.get(file) == b"x"
        assert maker.mkdir(folder)
        assert not looker.mkdir(folder)
        assert looker.create(f"{folder}/inside", b"z")
        assert maker.get(f"{folder}/inside") == b"z"
        assert sorted(looker.names(where)) == sorted(maker.names(where))
        assert looker.remove(file)
        assert maker.get(file) is None
        assert not maker.remove(file)
    assert sorted(sides[0].names(where)) == sorted(f"d{turn}" for turn in range(6))


@of(*MOVERS)
def test_moves(pair: Pair, sides: tuple[Mover, Mover]) -> None:
    where = pair.directory()
    for turn in range(4):
        mover, looker = sides if turn % 2 else sides[::-1]
        a, b = f"{where}/a{turn}", f"{where}/b{turn}"
        looker.put(a, b"%d" % turn)
        looker.put(b, b"old")
        assert mover.get(b) == b"old"
        assert mover.move(a, b)
        assert looker.get(b) == b"%d" % turn
        assert looker.get(a) is None
        assert looker.mkdir(f"{where}/d{turn}")
        looker.put(f"{where}/d{turn}/f", b"in it")
        assert mover.move(f"{where}/d{turn}", f"{where}/e{turn}")
        assert looker.get(f"{where}/e{turn}/f") == b"in it"
        assert looker.get(f"{where}/d{turn}/f") is None
        assert looker.size(f"{where}/d{turn}") is None


@of(*MOUNTS)
def test_attributes(pair: Pair, sides: tuple[MountSide, MountSide]) -> None:
    where = pair.directory()
    for turn in range(4):
        changer, looker = sides if turn % 2 else sides[::-1]
        name = f"{where}/f{turn}"
        looker.put(name, b"x" * 5000)
        ours, theirs = looker.path(name), changer.path(name)
        assert ours.stat().st_nlink == 1
        theirs.chmod(0o640 + turn)
        assert ours.stat().st_mode & 0o777 == 0o640 + turn
        os.utime(theirs, ns=(1, 10**18 + turn))
        assert ours.stat().st_mtime_ns == 10**18 + turn
        os.truncate(theirs, 100 + turn)
        assert ours.stat().st_size == 100 + turn
        assert ours.read_bytes() == b"x" * (100 + turn)
        os.truncate(theirs, 200)
        assert ours.read_bytes() == b"x" * (100 + turn) + bytes(100 - turn)
        os.setxattr(theirs, "user.a", b"%d" % turn)
        assert os.getxattr(ours, "user.a") == b"%d" % turn
        os.removexattr(theirs, "user.a")
        assert os.listxattr(ours) == []
        assert changer.link(name, f"{name}-link")
        assert ours.stat().st_nlink == 2
        assert looker.path(f"{name}-link").samefile(ours)
        os.symlink(f"f{turn}", changer.path(f"{where}/s{turn}"))
        assert looker.path(f"{where}/s{turn}").read_bytes() == ours.read_bytes()


# --- one winner ------------------------------------------------------------------------------------------


def race(pair: Pair, rounds: int, *actions: Callable[[Side, Side, str], Callable[[], object]]) -> None:
    """Each action, by both sides at once, has one winner in every round."""
    where = pair.directory()
    with closing(pair.one()) as one, closing(pair.other()) as other:
        for turn in range(rounds):
            for index, action in enumerate(actions):
                name = f"{where}/{index}-{turn}"
                won = at_once(action(one, other, name), action(other, one, name))
                assert sorted(map(bool, won)) == [False, True], (index, turn, won)


def create(side: Side, _: Side, name: str) -> Callable[[], object]:
    return lambda: side.create(name, b"x")


def mkdir(side: Side, _: Side, name: str) -> Callable[[], object]:
    return lambda: side.mkdir(name)


def remove(side: Side, other: Side, name: str) -> Callable[[], object]:
    if other.size(name) is None:
        side.put(name, b"x")
    return lambda: side.remove(name)


def move(side: Mover, other: Mover, name: str) -> Callable[[], object]:
    """Two move one thing to different names."""
    if other.size(name) is None and side.size(name) is None:
        side.put(name, b"x")
    return lambda: side.move(name, f"{name}-{id(side)}")


def link(side: MountSide, _: Side, name: str) -> Callable[[], object]:
    side.put(f"{name}-{id(side)}", b"x")
    return lambda: side.link(f"{name}-{id(side)}", name)


MANY = [pytest.mark.soak, pytest.mark.timeout(900)]
ROUNDS = [pytest.param(8, id="quick"), pytest.param(400, id="many", marks=MANY)]
READS = [pytest.param(15, id="quick"), pytest.param(600, id="many", marks=MANY)]


@pytest.mark.parametrize("rounds", ROUNDS)
@of(*ALL)
def test_a_new_file_has_one_maker(pair: Pair, rounds: int) -> None:
    race(pair, rounds, create, mkdir, remove)


@pytest.mark.parametrize("rounds", ROUNDS)
@of(*MOVERS)
def test_a_move_has_one_winner(pair: Pair, rounds: int) -> None:
    race(pair, rounds, move)


@pytest.mark.parametrize("rounds", ROUNDS)
@of(*MOUNTS)
def test_a_link_has_one_winner(pair: Pair, rounds: int) -> None:
    race(pair, rounds, link)


# --- while the other changes it --------------------------------------------------------------------------


@pytest.mark.parametrize("rounds", READS)
@of(*MOVERS)
def test_a_replaced_file_is_read_whole(pair: Pair, rounds: int) -> None:
    """Never missing, never mixed, never older than what was answered before it was opened."""
    name = f"{pair.directory()}/f"
    acknowledged = 0
    stop = threading.Event()

    def write(side: Mover) -> None:
        nonlocal acknowledged
        try:
            for turn in range(1, rounds + 1):
                side.replace(name, b"%08d" % turn * (20_000 if turn % 2 else 40_000))
                acknowledged = turn
        finally:
            stop.set()

    def read(side: Side) -> None:
        reads = 0
        while not stop.is_set() or not reads:
            at_least = acknowledged
            data = side.get(name)
            assert data is not None
            turn = int(data[:8])
            assert data == b"%08d" % turn * (20_000 if turn % 2 else 40_000)
            assert turn >= at_least
            reads += 1

    with closing(pair.one()) as one, closing(pair.other()) as other:
        for writer, reader in ((one, other), (other, one)):
            stop.clear()
            acknowledged = 0
            writer.put(name, b"%08d" % 0 * 40_000)  # type: ignore[union-attr]
            at_once(partial(write, writer), partial(read, reader))  # type: ignore[arg-type]


@of(*ALL)
def test_what_stays_is_listed_once(pair: Pair) -> None:
    where = pair.directory()
    stop = threading.Event()
    with closing(pair.one()) as one, closing(pair.other()) as other:
        kept = {f"kept{number:03}" for number in range(60)}
        for name in kept:
            one.put(f"{where}/{name}", b"")

        def change() -> None:
            try:
                for turn in range(20):
                    one.create(f"{where}/a{turn}", b"")
                    one.create(f"{where}/z{turn}", b"")
                    one.remove(f"{where}/a{turn}")
            finally:
                stop.set()

        def look() -> None:
            while not stop.is_set():
                found = other.names(where)
                assert len(found) == len(set(found))
                assert kept <= set(found)

        at_once(change, look)
        assert set(other.names(where)) == kept | {f"z{turn}" for turn in range(20)}


@of(*WITH_MOUNT)
def test_what_is_open_outlives_its_name(pair: Pair, sides: tuple[MountSide, Side]) -> None:
    holder, other = sides
    where = pair.directory()
    data = os.urandom(300_000)
    for turn in range(2):
        name = f"{where}/f{turn}"
        holder.put(name, data)
        with open(holder.path(name), "r+b", buffering=0) as file:
            assert file.read(100) == data[:100]
            if turn % 2 and isinstance(other, MountSide):
                other.replace(name, b"another")
            else:
                assert other.remove(name)
            assert holder.get(name) in (None, b"another")
            file.seek(0)
            assert file.read(400_000) == data
            file.seek(1000)
            file.write(b"changed")
            os.fsync(file.fileno())
            file.seek(0)
            assert file.read(400_000) == data[:1000] + b"changed" + data[1007:]
            assert os.fstat(file.fileno()).st_nlink == 0
        assert other.get(name) in (None, b"another")


# --- locks ------------------------------------------------------------------------------------------------

LOCKED_APPENDS = """
import fcntl, os, sys
path, who, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
for n in range(count):
    with open(path, "ab", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(b"%s %d\\n" % (who.encode(), n))
"""

INSERTS = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
for n in range(int(sys.argv[3])):
    connection.execute("insert into t values (?, ?)", (sys.argv[2], n))
"""


def run_two(code: str, path: Path, count: int) -> None:
    commands = [[sys.executable, "-c", code, str(path), who, str(count)] for who in ("a", "b")]
    running = [subprocess.Popen(command) for command in commands]
    assert [one.wait(100) for one in running] == [0, 0]


@of(*MOUNTS)
def test_appends_under_a_lock_on_one_host(pair: Pair, sides: tuple[MountSide, MountSide]) -> None:
    name = f"{pair.directory()}/log"
    for turn, (writer, reader) in enumerate((sides, sides[::-1]), 1):
        run_two(LOCKED_APPENDS, writer.path(name), 25)
        lines = (reader.get(name) or b"").splitlines()
        assert sorted(lines) == sorted(
            [b"%s %d" % (who, n) for who in (b"a", b"b") for n in range(25)] * turn
        )


@of(*WITH_MOUNT)
def test_appends_under_a_lock_file_on_two_hosts(pair: Pair) -> None:
    """The lock is a file that only one can make: it is the only kind that all front ends know."""
    where = pair.directory()
    log, lock = f"{where}/log", f"{where}/lock"

    def append(side: Side, who: bytes) -> None:
        for turn in range(8):
            deadline = 100_000
            while not side.create(lock, who):
                deadline -= 1
                assert deadline
            line = b"%s %d\n" % (who, turn)
            if isinstance(side, MountSide):
                with open(side.path(log), "ab") as file:
                    file.write(line)
            else:
                side.put(log, (side.get(log) or b"") + line)
            assert side.remove(lock)

    with closing(pair.one()) as one, closing(pair.other()) as other:
        at_once(lambda: append(one, b"a"), lambda: append(other, b"b"))
        expected = sorted(b"%s %d" % (who, turn) for who in (b"a", b"b") for turn in range(8))
        for side in (one, other):
            assert sorted((side.get(log) or b"").splitlines()) == expected


@of(*MOUNTS)
def test_a_database_on_one_host_is_read_on_another(pair: Pair, sides: tuple[MountSide, MountSide]) -> None:
    name = f"{pair.directory()}/test.db"
    for turn, (writer, reader) in enumerate((sides, sides[::-1]), 1):
        with closed(sqlite3.connect(writer.path(name), isolation_level=None)) as made:
            made.execute("create table if not exists t (who, n)")
        run_two(INSERTS, writer.path(name), 4)
        with closed(sqlite3.connect(f"file:{reader.path(name)}?mode=ro", uri=True)) as read:
            assert read.execute("pragma integrity_check").fetchone() == ("ok",)
            assert read.execute("select count(*) from t").fetchone() == (8 * turn,)
