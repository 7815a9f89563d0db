"""Workers take turns at reading: one at a time, nobody is forgotten, everybody sees the end."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from gravitonfs.fuse import turns
from gravitonfs.fuse.turns import Turns, turning


@pytest.fixture
def ours(monkeypatch: pytest.MonkeyPatch) -> Turns:
    result = Turns()
    monkeypatch.setattr(turns, "TURNS", result)
    return result


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ends = socket.socketpair()
    yield ends
    for end in ends:
        end.close()


class Session:
    """What pyfuse3 does: each worker takes the lock, waits, reads, answers; an empty request is the end."""

    def __init__(self, ours: Turns, end: socket.socket) -> None:
        self.ours = ours
        self.end = end
        self.answered: list[str] = []
        self.reading = 0
        self.gate = trio.Event()
        self.over = False

    @turning
    async def answer(self, request: str) -> None:
        if request == "w":
            await self.gate.wait()
        self.answered.append(request)

    async def worker(self) -> None:
        while not self.over:
            async with self.ours.Lock():
                assert self.reading == 0
                self.reading += 1
                try:
                    if self.over:
                        return
                    await self.ours.wait_readable(self.end.fileno())
                finally:
                    self.reading -= 1
            request = self.end.recv(1).decode()
            if not request:
                self.over = True
                return
            await self.answer(request)

    async def run(self, workers: int) -> None:
        async with self.ours.open_nursery() as nursery:
            for number in range(workers):
                nursery.start_soon(self.worker, name=f"worker {number}")


def test_requests_are_answered_by_one_worker_and_all_end(
    ours: Turns, pair: tuple[socket.socket, socket.socket]
) -> None:
    session = Session(ours, pair[0])
    pair[1].send(b"abcdef")
    pair[1].shutdown(socket.SHUT_WR)
    trio.run(session.run, 5)
    assert session.answered == list("abcdef")
    assert ours.suspended == 0


def test_a_handler_that_waits_lets_others_read(
    ours: Turns, pair: tuple[socket.socket, socket.socket]
) -> None:
    session = Session(ours, pair[0])

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.run, 3)
            pair[1].send(b"awb")
            with trio.fail_after(5):
                while len(session.answered) < 2:
                    await trio.testing.wait_all_tasks_blocked()
            assert session.answered == ["a", "b"]
            assert ours.suspended == 1
            assert not ours.alone()
            session.gate.set()
            pair[1].shutdown(socket.SHUT_WR)

    trio.run(main)
    assert session.answered == ["a", "b", "w"]
    assert ours.suspended == 0


def test_every_worker_waiting_leaves_the_rest_for_later(
    ours: Turns, pair: tuple[socket.socket, socket.socket]
) -> None:
    session = Session(ours, pair[0])

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.run, 2)
            pair[1].send(b"wwc")
            with trio.fail_after(5):
                while ours.suspended < 2:
                    await trio.testing.wait_all_tasks_blocked()
            assert session.answered == []
            session.gate.set()
            pair[1].shutdown(socket.SHUT_WR)

    trio.run(main)
    assert sorted(session.answered) == ["c", "w", "w"]


def test_cancelled_workers_leave_the_lock_free(
    ours: Turns, pair: tuple[socket.socket, socket.socket]
) -> None:
    session = Session(ours, pair[0])

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.run, 3)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        async with ours.Lock():
            pass

    trio.run(main)


def test_the_scheduler_gets_its_turn_while_requests_never_stop(
    ours: Turns, pair: tuple[socket.socket, socket.socket]
) -> None:
    """A timer goes off although the next request is always there already."""
    session = Session(ours, pair[0])

    @turning
    async def busy(request: str) -> None:
        session.answered.append(request)
        if not session.over:
            pair[1].send(b"x")

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.run, 2)
            pair[1].send(b"x")
            await trio.sleep(0.02)
            session.over = True
            pair[1].send(b"x")

    session.answer = busy  # type: ignore[method-assign]
    trio.run(main)
    assert len(session.answered) > 10
