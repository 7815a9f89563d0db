"""Calls beside the event loop: it waits for them while nothing else happens, and for nothing longer."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import trio

from gravitonfs.fuse.beside import Beside


@pytest.fixture
def requests() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


async def elsewhere(call: Callable[[], str]) -> str:
    return "elsewhere: " + await trio.to_thread.run_sync(call)


def test_what_is_quick_is_waited_for(requests: tuple[int, int]) -> None:
    passes: list[str] = []

    async def others() -> None:
        passes.append("others")

    async def main() -> None:
        beside = Beside(lambda: True, lambda: requests[0])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(others)
            for number in range(100):
                assert await beside.run(partial(str, number), elsewhere) == str(number)
            thread = await beside.run(lambda: threading.current_thread().name, elsewhere)
            assert thread != threading.current_thread().name
            passes.append("done")

    trio.run(main)
    assert sorted(passes) == ["done", "others"]


def test_a_request_that_comes_is_not_held_up(requests: tuple[int, int]) -> None:
    """The call ends only when somebody else has done something on the loop."""
    answered = threading.Event()
    begun = threading.Event()

    async def reader() -> None:
        await trio.lowlevel.wait_readable(requests[0])
        os.read(requests[0], 1)
        assert begun.is_set()
        answered.set()

    def call() -> str:
        begun.set()
        os.write(requests[1], b"r")
        assert answered.wait(30)
        return "done"

    async def main() -> None:
        beside = Beside(lambda: True, lambda: requests[0])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader)
            assert await beside.run(call, elsewhere) == "done"
        assert await beside.run(lambda: "again", elsewhere) == "again"

    trio.run(main)


def test_what_takes_long_holds_nobody_up(requests: tuple[int, int]) -> None:
    go_on = threading.Event()

    async def others() -> None:
        go_on.set()

    def call() -> str:
        assert go_on.wait(30)
        return "done"

    async def main() -> None:
        beside = Beside(lambda: True, lambda: requests[0])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(others)
            assert await beside.run(call, elsewhere) == "done"

    trio.run(main)


def test_where_others_wait_the_loop_does_not(requests: tuple[int, int]) -> None:
    async def main() -> None:
        beside = Beside(lambda: False, lambda: requests[0])
        assert await beside.run(lambda: "done", elsewhere) == "elsewhere: done"

    trio.run(main)


def test_what_it_raises_is_raised(requests: tuple[int, int]) -> None:
    def call() -> str:
        raise ValueError("no")

    async def main() -> None:
        beside = Beside(lambda: True, lambda: requests[0])
        with pytest.raises(ValueError, match="no"):
            await beside.run(call, elsewhere)
        assert await beside.run(lambda: "done", elsewhere) == "done"

    trio.run(main)
