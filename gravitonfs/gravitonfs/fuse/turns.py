"""Whose turn it is to read the next request, mostly without a pass through the scheduler.

pyfuse3's workers take turns: a lock, then ``wait_readable``, both through trio's scheduler, which costs
two passes and three system calls a request: 60 of the 90 microseconds that a cheap request takes. Here a
worker whose handler has not waited for anything reads on itself, and looks for its next request for a
few microseconds before it sleeps: a program that waits for our answer sends the next one soon. pyfuse3
takes what it needs of trio from a module attribute, made to be replaced (``pyfuse3.asyncio`` does so).

All on the event loop's thread; no locks.
"""

from __future__ import annotations

import os
import select
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager
from functools import wraps
from time import perf_counter_ns
from types import coroutine
from typing import Any, ParamSpec, TypeVar, cast

import pyfuse3
import trio

P = ParamSpec("P")
R = TypeVar("R")

SPIN_NS = 40_000 if len(os.sched_getaffinity(0)) > 1 else 0
"""How long to look for the next request. With one processor the program could not send it meanwhile."""
TURN_NS = 2_000_000
"""At least this often the scheduler gets its turn: signals, timers, other mounts."""


class _Done:
    """An awaitable that has happened."""

    def __await__(self) -> Generator[Any, None, None]:
        return iter(())  # type: ignore[return-value]  # any iterator will do


_DONE = _Done()


class Turn:
    """In place of the ``trio.Lock`` around reading. Who lets go of it hands it to nobody: the same worker
    takes it again unless its handler suspends, and only then another one is woken (``wake``)."""

    def __init__(self) -> None:
        self._held = False
        self._parked: deque[trio.lowlevel.Task] = deque()

    def __aenter__(self) -> Awaitable[None]:
        if self._held:
            return self._park()
        self._held = True
        return _DONE

    async def _park(self) -> None:
        while self._held:
            task = trio.lowlevel.current_task()
            self._parked.append(task)

            def abort(_: object, task: trio.lowlevel.Task = task) -> trio.lowlevel.Abort:
                self._parked.remove(task)
                return trio.lowlevel.Abort.SUCCEEDED

            await trio.lowlevel.wait_task_rescheduled(abort)
        self._held = True

    def __aexit__(self, *error: object) -> Awaitable[None]:
        self._held = False
        return _DONE

    def wake(self) -> None:
        """Another worker shall read: this one waits for something else, or has come to its end."""
        if self._parked and not self._held:
            trio.lowlevel.reschedule(self._parked.popleft())


class _Workers:
    """The nursery, as far as pyfuse3 uses it. A worker ends because there are too many or because the
    session is over, which the next one must see, too."""

    def __init__(self, nursery: trio.Nursery, turn: Turn) -> None:
        self._nursery = nursery
        self._turn = turn

    def start_soon(self, worker: Callable[..., Awaitable[None]], *args: object, name: str = "") -> None:
        self._nursery.start_soon(self._run, worker, args, name=name)

    async def _run(self, worker: Callable[..., Awaitable[None]], args: tuple[object, ...]) -> None:
        try:
            await worker(*args)
        finally:
            self._turn.wake()


class Turns:
    """What pyfuse3 sees as ``trio.lowlevel``, and as trio itself."""

    def __init__(self) -> None:
        self.turn = Turn()
        self.suspended = 0
        """Handlers that wait for something: the scheduler is needed to resume them."""
        self.lowlevel = self
        self._poll: select.poll | None = None
        self._fd = -1
        self._slept = 0

    def Lock(self) -> Turn:
        return self.turn

    @asynccontextmanager
    async def open_nursery(self) -> AsyncIterator[_Workers]:
        async with trio.open_nursery() as nursery:
            yield _Workers(nursery, self.turn)

    def __getattr__(self, name: str) -> Any:
        try:
            return getattr(trio, name)
        except AttributeError:
            return getattr(trio.lowlevel, name)

    def wait_readable(self, fd: int) -> Awaitable[None]:
        if fd != self._fd or self._poll is None:
            self._fd, self._poll = fd, select.poll()
            self._poll.register(fd, select.POLLIN)
        poll = self._poll
        if not self.suspended:
            now = perf_counter_ns()
            stop = now + SPIN_NS
            if now - self._slept < TURN_NS:
                while True:
                    if poll.poll(0):
                        return _DONE
                    if perf_counter_ns() >= stop:
                        break
        return self._sleep(fd)

    @property
    def descriptor(self) -> int:
        """Of the kernel's device, once requests were waited for; -1 before."""
        return self._fd

    def alone(self) -> bool:
        """No other request is being answered or waits to be read."""
        return not self.suspended and (self._poll is None or not self._poll.poll(0))

    async def _sleep(self, fd: int) -> None:
        await trio.lowlevel.wait_readable(fd)
        self._slept = perf_counter_ns()


TURNS = Turns()


def install() -> None:
    """Before ``pyfuse3.main``. Idempotent."""
    pyfuse3.trio = TURNS  # type: ignore[attr-defined]


def turning(handler: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Wrap a request handler: when it has to wait, somebody else reads the next request."""

    @wraps(handler)
    @coroutine
    def request(*args: P.args, **kwargs: P.kwargs) -> Generator[Any, Any, R]:
        running = handler(*args, **kwargs)
        try:
            trap = running.send(None)
        except StopIteration as done:
            result: R = done.value
            return result
        TURNS.suspended += 1
        TURNS.turn.wake()
        try:
            while True:
                try:
                    answer = yield trap
                except BaseException as error:  # noqa: BLE001  # the handler's own, cancellation included
                    trap = running.throw(error)
                else:
                    trap = running.send(answer)
        except StopIteration as done:
            result = done.value
            return result
        finally:
            TURNS.suspended -= 1

    return cast("Callable[P, Coroutine[Any, Any, R]]", request)
