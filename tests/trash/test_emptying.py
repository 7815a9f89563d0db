"""When the trash is emptied: by the clock, when space runs out, on command."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from graviton_server.maintenance.chores import Settings
from graviton_server.maintenance.stores import Stores
from graviton_server.maintenance.trash import Emptier, quotas_of_volumes
from graviton_server.maintenance.turns import Alone
from graviton_server.maintenance.work import Work
from graviton_server.namespace.store import NamespaceStore
from gravitonfs.core.format import VolumeFormat
from gravitonfs.errors import Kind
from gravitonfs.ports.ops import Create, RemoveTree, Unlink
from gravitonfs.testing.namespace_suite.driver import ROOT, Session

DAY = 86_400 * 10**9


class Rows:
    """As much of a ``PackRegistry`` as is asked: the clock, which the test moves."""

    def __init__(self) -> None:
        self.now = time.time_ns()

    def clock_ns(self) -> int:
        return self.now


@pytest.fixture
def session(scratch: Path) -> Iterator[Session]:
    path = scratch / "namespace.db"
    NamespaceStore.create(path, VolumeFormat(), bytes(16))
    store = NamespaceStore.open(path, trash_age_ns=0)
    made = Session(store)
    yield made
    assert made.problems() == []
    store.close()


def emptier(session: Session, rows: Rows, days: int = 1, *, full: Any = lambda: False) -> Emptier:
    unused: Any = None
    stores = Stores(
        session.store.upkeep,
        cast(Any, rows),
        unused,
        unused,
        unused,
        housekeeping=Alone(),
        quotas=lambda: quotas_of_volumes(session.store),
    )
    return Emptier(stores, days, full)


def lose(session: Session, count: int) -> None:
    for number in range(count):
        session.make(b"f%d" % number)
        session.do(Unlink(ROOT, b"f%d" % number))


def there(session: Session) -> int:
    return session.store.upkeep.trash_usage().inodes


def test_by_the_clock(session: Session) -> None:
    rows = Rows()
    lose(session, 600)
    work = emptier(session, rows, 2)
    assert work.run(Work()) == ""
    rows.now += DAY * 2 - 600 * 10**9
    assert work.run(Work()) == ""
    assert there(session) == 600
    rows.now += 1200 * 10**9
    assert work.run(Work()) == "600 files and trees erased from the trash"
    assert there(session) == 0
    session.reap_all()
    assert session.ns.usage().inodes == 1


def test_turned_off_it_is_emptied(session: Session) -> None:
    lose(session, 3)
    rows = Rows()
    rows.now += 10**9
    assert emptier(session, rows, 0).run(Work()) == "3 files and trees erased from the trash"


def test_the_oldest_goes_when_space_is_short(session: Session, caplog: pytest.LogCaptureFixture) -> None:
    lose(session, 2000)
    rows = Rows()
    work = emptier(session, rows, 30, full=lambda: there(session) > 900)
    assert work.run(Work()).startswith("1024 files")
    left = session.ns.resolve([b".trash"])[0].ino
    day = session.ns.entries(left, None, 9)[0].attr.ino
    names = {entry.name for entry in session.ns.entries(day, None, 5000)}
    assert names == {b"f%d" % number for number in range(1024, 2000)}
    assert "space is short" in caplog.text
    caplog.clear()


def test_on_command_and_only_told(session: Session) -> None:
    d = session.mkdir(b"d").ino
    session.make(b"f", parent=d)
    session.do(RemoveTree(ROOT, b"d"))
    lose(session, 2)
    work = emptier(session, Rows())
    assert work.empty(Work(), dry_run=True) == 4
    assert there(session) == 4
    assert work.empty(Work(), dry_run=False) == 3
    assert there(session) == 0
    session.reap_all()
    assert session.ns.usage().inodes == 1


def test_the_default_is_a_day() -> None:
    assert Settings().trash_days == 1


def test_a_volume_whose_quota_is_nearly_used_up(session: Session, caplog: pytest.LogCaptureFixture) -> None:
    """The trash counts for it, and gives its place back, the oldest first; that of others stays."""
    root = session.store.create_volume("other").root
    other = Session(session.store, volume="other")
    other.make(b"f", parent=root)
    other.do(Unlink(root, b"f"))
    lose(session, 1500)
    session.store.quotas.set("main", ROOT, None, 2000)
    work = emptier(session, Rows())
    assert work.run(Work()) == ""
    session.store.quotas.set("main", ROOT, None, 1500)
    session.fails(Kind.QUOTA, Create(ROOT, b"more", session.ino(), 0o100644, 0, 0))
    assert work.run(Work()) == "1024 files and trees erased from the trash"
    assert "the quota of volume main is nearly used up" in caplog.text
    session.reap_all()
    session.make(b"more")
    assert work.run(Work()) == ""
    assert other.ns.usage().inodes == 2
