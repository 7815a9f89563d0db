"""Sessions that front ends share: attached on first use, let go when idle, never under a request's feet."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from graviton_server.wiring import Engine, open_embedded
from gravitonfs.content.pool import VolumePool
from gravitonfs.content.volume import Volume
from gravitonfs.core.ids import ROOT_INO
from gravitonfs.errors import Detached, Fenced, NotFound
from gravitonfs.ports.ops import Create
from harness.waiting import wait_until

IDLE = 0.05


@pytest.fixture
def engine(scratch: Path) -> Iterator[Engine]:
    with open_embedded(scratch / "volume", create=True) as opened:
        yield opened


@pytest.fixture
def pool(engine: Engine) -> Iterator[VolumePool]:
    made = VolumePool(lambda name: engine.volume("pooled", name=name), IDLE)
    yield made
    made.close()


def pooled(engine: Engine) -> list[int]:
    return [row.number for row in engine.namespace_store.sessions() if row.label == "pooled"]


def make(volume: Volume, name: bytes) -> None:
    volume.submit(Create(volume.namespace.root, name, volume.new_ino(), 0o100644, 0, 0))


def test_nothing_is_attached_before_it_is_used(engine: Engine, pool: VolumePool) -> None:
    assert pooled(engine) == []


def test_users_share_one_session_and_what_was_made_of_it(engine: Engine, pool: VolumePool) -> None:
    with pool.use("main") as one, pool.use("main") as two:
        assert one is two
        assert len(pooled(engine)) == 1
        assert one.part(object.__class__) is two.part(object.__class__)


def test_an_idle_session_ends_and_the_next_request_has_another(engine: Engine, pool: VolumePool) -> None:
    with pool.volume("main") as volume:
        make(volume, b"before")
        first = volume.namespace.session
    wait_until(lambda: not pooled(engine), "the idle session ends")
    with pool.volume("main") as volume:
        assert volume.namespace.session != first
        assert volume.namespace.lookup(ROOT_INO, b"before") is not None


def test_a_session_in_use_outlives_every_idle_time(engine: Engine, pool: VolumePool) -> None:
    with pool.volume("main") as volume:
        engine.namespace_store.create_volume("other")
        with pool.volume("other"):
            pass
        wait_until(lambda: len(pooled(engine)) == 1, "the other, idle one ends")
        make(volume, b"still")
        assert pooled(engine) == [volume.namespace.session]


def test_requests_that_overlap_have_one_session(engine: Engine, pool: VolumePool) -> None:
    """However long each takes: there is no moment without any."""
    sessions = set()
    with ExitStack() as last:
        last.enter_context(pool.volume("main"))
        for _ in range(5):
            following = ExitStack()
            sessions.add(following.enter_context(pool.volume("main")).namespace.session)
            last.close()
            last.push(following.pop_all())
            with pool._lock:
                pool._lock.wait(2 * IDLE)
    assert len(sessions) == 1


def test_a_session_ended_by_others_is_not_used_again(engine: Engine, pool: VolumePool) -> None:
    def evicted() -> None:
        with pool.volume("main") as volume:
            engine.namespace_store.evict(volume.namespace.session)
            make(volume, b"never")

    with pytest.raises(Fenced):
        evicted()
    with pool.volume("main") as volume:
        make(volume, b"then")
    engine.namespace_store.evict(pooled(engine)[0])


def test_dropped_while_in_use(engine: Engine, pool: VolumePool) -> None:
    """The request at hand goes on; the next has another session; both end."""
    with pool.volume("main") as volume:
        pool.let_go_of("main")
        with pool.volume("main") as other:
            assert other.namespace.session != volume.namespace.session
        make(volume, b"goes on")
    wait_until(lambda: not pooled(engine), "both end")


def test_an_attach_that_waits_holds_nobody_else_up(engine: Engine) -> None:
    """Another session's lease may have to run out first."""
    waiting, go = threading.Event(), threading.Event()

    def attach(name: str) -> Volume:
        if name == "main":
            waiting.set()
            assert go.wait(30)
        return engine.volume("pooled", name=name)

    engine.namespace_store.create_volume("other")
    pool = VolumePool(attach, IDLE)

    def slow() -> None:
        with pool.volume("main"):
            pass

    thread = threading.Thread(target=slow)
    thread.start()
    assert waiting.wait(30)
    with pool.volume("other") as volume:
        make(volume, b"x")
    go.set()
    thread.join()
    pool.close()


def test_a_volume_that_is_not_there(engine: Engine, pool: VolumePool) -> None:
    for _ in range(2):
        with pytest.raises(NotFound), pool.use("nowhere"):
            pass
    engine.namespace_store.create_volume("nowhere")
    with pool.use("nowhere"):
        pass


def test_nothing_is_attached_after_the_end(engine: Engine, pool: VolumePool) -> None:
    with pool.use("main"):
        pass
    pool.close()
    assert pooled(engine) == []
    with pytest.raises(Detached), pool.use("main"):
        pass
