"""Processes killed at any moment, disks that are full: what was acknowledged is there."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from graviton_server.namespace import committer
from graviton_server.namespace.store import NamespaceStore
from gravitonfs.core.format import VolumeFormat
from gravitonfs.core.ids import ROOT_INO
from gravitonfs.errors import GravitonError, NoSpace
from gravitonfs.ports.ops import Batch, Create
from gravitonfs.ports.packs import PackState
from gravitonfs.testing.namespace_suite.driver import Session
from harness.waiting import wait_until

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent


def start(script: str, *arguments: str) -> subprocess.Popen[str]:
    roots = [str(REPOSITORY / root) for root in ("gravitonfs", "server", "webdav")]
    return subprocess.Popen(
        [sys.executable, str(HERE / script), *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(roots)},
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    result = tmp_path / "namespace.db"
    NamespaceStore.create(result, VolumeFormat(), bytes(16))
    return result


def test_kill_at_any_moment(path: Path) -> None:
    """Every file acknowledged before a kill -9 is there and whole, after every one of several kills."""
    random.seed(7)
    acknowledged: dict[str, int] = {}
    for run in range(5):
        with start("writer.py", str(path), f"run{run}") as writer:
            assert writer.stdout is not None
            for _ in range(random.randrange(1, 60)):
                acknowledged[f"run{run}"] = int(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
            rest = writer.stdout.read().split()
        if rest:
            acknowledged[f"run{run}"] = int(rest[-1])
        store = NamespaceStore.open(path)
        session = Session(store)
        names = set(session.names())
        assert not [name for name in names if name.endswith(b".part")]
        for owner, last in acknowledged.items():
            for number in range(last + 1):
                name = f"{owner}-{number}".encode()
                assert name in names
                attr = session.find(name)
                [region] = session.ns.extents(attr.content, 0, 0)
                assert region.extents[0].block == name.ljust(32)
        assert session.problems() == []
        store.close()


def test_a_commit_that_fails_takes_nothing_back(path: Path) -> None:
    with start("full_disk.py", str(path)) as process:
        assert process.stdout is not None
        said = process.stdout.read().splitlines()
    assert said.pop() == "room"
    assert said[:-1] == [said[0]] * 3
    assert said[0] in ("refused no-space", "refused unavailable")
    assert said[-1] == "durable"
    assert process.returncode == -signal.SIGKILL
    store = NamespaceStore.open(path)
    session = Session(store)
    assert len(session.names()) == 4901
    assert store.loose.loose_bytes() == 5000
    assert session.problems() == []
    store.close()


def test_a_database_without_room_refuses_and_recovers(path: Path) -> None:
    store = NamespaceStore.open(path, group_seconds=3600)
    session = Session(store)
    inos = iter(session.ns.grant(100_000))
    session.ns.apply([session.batch()], durable=True)
    pages = store.execute("PRAGMA page_count").fetchone()[0]
    store.execute(f"PRAGMA max_page_count={pages + 20}").fetchall()
    done = 0
    with pytest.raises(NoSpace):  # noqa: PT012  # however many fit
        while done < 100_000:
            name = b"%0200d" % done
            session.ns.apply(
                [Batch(session.number + 1, 1, (Create(ROOT_INO, name, next(inos), 0o100644, 0, 0),))],
                durable=False,
            )
            session.number += 1
            done += 1
    assert len(session.names()) == min(done, 10_000)
    store.execute("PRAGMA max_page_count=1000000").fetchall()
    session.ns.apply([session.batch()], durable=True)
    store.close()
    store = NamespaceStore.open(path)
    after = Session(store)
    assert len(after.names()) == done
    assert after.problems() == []
    store.close()


def test_calls_without_room_leave_what_was_before(path: Path) -> None:
    store = NamespaceStore.open(path, group_seconds=3600)
    session = Session(store)
    session.make(b"kept")
    session.do(durable=True)
    session.make(b"not yet durable")
    pages = store.execute("PRAGMA page_count").fetchone()[0]
    store.execute(f"PRAGMA max_page_count={pages + 5}").fetchall()
    begun = 0
    with pytest.raises(NoSpace):  # noqa: PT012  # however many fit
        while begun < 100_000:
            store.packs.begin(begun.to_bytes(16, "big"), "x" * 200, PackState.LIVE)
            begun += 1
    assert session.names() == [b"kept", b"not yet durable"]
    assert len(store.packs.rows(limit=100_000)) == begun
    store.execute("PRAGMA max_page_count=1000000").fetchall()
    store.close()
    store = NamespaceStore.open(path)
    assert Session(store).names() == [b"kept", b"not yet durable"]
    assert len(store.packs.rows(limit=100_000)) == begun
    store.close()


def test_changes_become_durable_by_themselves(path: Path) -> None:
    store = NamespaceStore.open(path, group_seconds=0.01)
    before = store.counters()["commits"]
    session = Session(store)
    session.make(b"f")
    from time import monotonic

    deadline = monotonic() + 10
    while session.ns.apply([session.batch()], durable=False)[0].durable_through < session.number - 2:
        assert monotonic() < deadline, "nothing was committed"
    assert store.counters()["commits"] > before
    store.close()


def test_a_log_is_moved_after_the_database_could_not_be_opened(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk that failed at just that moment ended the thread: the log grew until the next start."""
    monkeypatch.setattr(committer, "CHECKPOINT_BYTES", 1)
    with closing(NamespaceStore.open(path, group_seconds=0.01)) as store:
        session = Session(store)
        away = path.with_name("away")
        path.rename(away)
        session.make(b"while it is away")
        wait_until(lambda: "could not be moved into the database" in caplog.text, "it to be told")
        away.rename(path)
        session.make(b"after that")
        wait_until(lambda: b"after that" in path.read_bytes(), "the log to be moved")


def test_errors_of_a_missing_and_a_second_file(tmp_path: Path, path: Path) -> None:
    with pytest.raises(GravitonError, match="there is no namespace database"):
        NamespaceStore.open(tmp_path / "nothing")
    with pytest.raises(GravitonError, match="exists already"):
        NamespaceStore.create(path, VolumeFormat(), bytes(16))
    with pytest.raises(GravitonError, match="does not exist"):
        NamespaceStore.create(tmp_path / "no" / "db", VolumeFormat(), bytes(16))
