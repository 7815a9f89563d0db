"""Batches of several threads, where a call takes long: together, in order, and each with its own outcome."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from graviton_server.namespace.store import NamespaceStore
from gravitonfs.content.session import Session
from gravitonfs.core.format import VolumeFormat
from gravitonfs.core.ids import Ino, PackNumber
from gravitonfs.errors import Exists, GravitonError, MissingBlocks, NotFound, Unavailable
from gravitonfs.ports.ops import Batch, Create, Reply, SetRecord, Unlink
from harness.waiting import wait_until

ROOT = Ino(1)


class Far:
    """A namespace that is not inline; calls can be held up, and fail."""

    inline = False

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.calls: list[int] = []
        self.entered = threading.Semaphore(0)
        self.go_on = threading.Event()
        self.go_on.set()
        self.away = False

    def apply(self, batches: Sequence[Batch], *, durable: bool) -> list[Reply]:
        self.calls.append(len(batches))
        self.entered.release()
        assert self.go_on.wait(30)
        if self.away:
            raise Unavailable("the daemon does not answer")
        result: list[Reply] = self.inner.apply(batches, durable=durable)
        return result

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Far]:
    path = tmp_path / "namespace.db"
    NamespaceStore.create(path, VolumeFormat(), bytes(16))
    store = NamespaceStore.open(path)
    yield Far(store.attach(label="test"))
    store.close()


class Submitters:
    """Threads that submit one batch each while the first call is held up."""

    def __init__(self, far: Far, session: Session) -> None:
        self.far = far
        self.session = session
        self.errors: dict[str, GravitonError] = {}
        self.threads: list[threading.Thread] = []

    def begin(self, name: str, *ops: Any, **more: Any) -> None:
        def run() -> None:
            try:
                self.session.submit(ops, **more)
            except GravitonError as error:
                self.errors[name] = error

        thread = threading.Thread(target=run)
        self.threads.append(thread)
        thread.start()

    def hold(self) -> None:
        self.far.go_on.clear()
        self.begin("first", SetRecord("x", b"first", b"v"))
        self.far.entered.acquire()

    def release(self, waiting: int) -> None:
        wait_until(lambda: len(self.session._queue) == waiting, "all to wait")
        self.far.go_on.set()
        for thread in self.threads:
            thread.join()


def test_those_that_wait_go_together(far: Far) -> None:
    session = Session(far)  # type: ignore[arg-type]
    others = Submitters(far, session)
    others.hold()
    for number in range(40):
        others.begin(str(number), SetRecord("x", b"%d" % number, b"v"), durable=number == 7)
    others.release(40)
    assert far.calls == [1, 40]
    assert others.errors == {}
    assert len(far.records("x")) == 41
    session.submit((SetRecord("x", b"last", b"v"),))
    assert len(far.records("x")) == 42


def test_each_has_its_own_outcome(far: Far) -> None:
    session = Session(far)  # type: ignore[arg-type]
    others = Submitters(far, session)
    inos = [session.new_ino() for _ in range(20)]
    others.hold()
    others.begin("unlink", Unlink(ROOT, b"nothing"))
    for number in range(10):
        others.begin(str(number), Create(ROOT, b"f%d" % number, inos[number], 0o100600, 0, 0))
        others.begin(f"twice {number}", Create(ROOT, b"f%d" % number, inos[number + 10], 0o100600, 0, 0))
    others.begin("refused", SetRecord("x", b"refused", b"v"), packs=(PackNumber(77),))
    others.release(22)
    assert isinstance(others.errors.pop("unlink"), NotFound)
    assert isinstance(others.errors.pop("refused"), MissingBlocks)
    assert len(others.errors) == 10
    assert all(isinstance(error, Exists) for error in others.errors.values())
    assert len(far.entries(ROOT, None, 100)) == 10
    assert [key for key, _ in far.records("x")] == [b"first"]
    session.submit((SetRecord("x", b"last", b"v"),), durable=True)
    assert [key for key, _ in far.records("x")] == [b"first", b"last"]


def test_all_are_told_when_nobody_answers(far: Far) -> None:
    session = Session(far)  # type: ignore[arg-type]
    others = Submitters(far, session)
    others.hold()
    far.away = True
    for number in range(5):
        others.begin(str(number), SetRecord("x", b"%d" % number, b"v"))
    others.release(5)
    assert len(others.errors) == 6
    assert far.calls == [1, 5]
    far.away = False
    session.submit((SetRecord("x", b"last", b"v"),))
    assert [key for key, _ in far.records("x")] == [b"last"]
