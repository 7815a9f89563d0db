"""Where packs are kept: a directory or a bucket."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO, NamedTuple, Protocol, runtime_checkable

from typing_extensions import Buffer


class ObjectInfo(NamedTuple):
    key: str
    length: int


class Space(NamedTuple):
    """Bytes; ``capacity`` and ``free`` are 0 where the target does not know them."""

    capacity: int
    free: int


class Target(Protocol):
    """A flat store of immutable objects. Keys are relative paths of ``[a-z0-9./-]``.

    All calls are thread-safe. Errors: ``NotFound``, ``NoSpace``, ``ReadOnly``, ``Unavailable`` (the
    same call may succeed later), ``Damaged`` (the medium reports a read error), ``AccessDenied`` (the
    credentials are refused; mending them is enough).
    """

    name: str

    def put(self, key: str, body: BinaryIO, length: int) -> None:
        """Store an object whole or not at all; durable when this returns. Repeating it is harmless.

        ``body`` is read from its position; a body shorter or longer than ``length`` is ``Invalid``
        and leaves nothing.
        """

    def get(self, key: str, start: int, length: int) -> Buffer:
        """Bytes [start, start + length), fewer only at the object's end. As for ``get_ranges``."""

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> Sequence[Buffer]:
        """As ``get`` for several (start, length), ascending and near each other, in one read.

        Answers may be views of one reused buffer, which is free again once all of them are gone:
        keeping one keeps them all in memory, so who keeps one copies it.
        """

    def head(self, key: str) -> ObjectInfo:
        """Raises ``NotFound``."""

    def delete(self, key: str) -> None:
        """Durable when this returns; deleting what is not there is no error."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Every object whose key starts with ``prefix``, in any order; what changes meanwhile may miss."""

    def space(self) -> Space: ...


@runtime_checkable
class RemoteTarget(Protocol):
    """What a target behind a network has beside ``Target``."""

    max_object: int
    """The largest object that can be put, in bytes."""

    def sweep_uploads(self) -> int:
        """Remove what uploads of processes long dead have left; how many. Other uploads go on."""

    def requests(self) -> Mapping[str, int]:
        """Requests sent since it was opened, by kind, repetitions included."""


@runtime_checkable
class SelfCheckingTarget(Protocol):
    """A target that can read and verify a pack where it lies."""

    def fault(self, key: str, length: int) -> str:
        """What is wrong with a pack, all of it read; empty: nothing, any more. Raises ``NotFound``."""


@runtime_checkable
class CopiedTarget(Protocol):
    """What a target of several copies has beside ``Target``: whoever verifies bytes can ask for others."""

    def copies(self, key: str) -> Sequence[Target]:
        """Targets that may have the object, one by one: those that should have it first, nearest first."""

    def report_bad(self, key: str, copy: Target) -> None:
        """The bytes that this one of ``copies`` has are not those that were written."""


def copies_of(target: Target, key: str) -> Sequence[Target]:
    """None where there is one copy only."""
    return target.copies(key) if isinstance(target, CopiedTarget) else ()


def report_bad(target: Target, key: str, copy: Target) -> None:
    if isinstance(target, CopiedTarget):
        target.report_bad(key, copy)


@runtime_checkable
class SeveralTargets(Protocol):
    """Targets of one store together, for objects that are no packs and are kept on each."""

    def each(self) -> Sequence[Target]:
        """Those that are open."""

    def writable(self) -> Sequence[Target]:
        """Those that take new objects and are there now."""

    def suffices(self, places: Sequence[Target]) -> bool:
        """Whether what is on these is at the write quorum."""


def each_place(target: Target | SeveralTargets) -> Sequence[Target]:
    return target.each() if isinstance(target, SeveralTargets) else (target,)


def writable_places(target: Target | SeveralTargets) -> Sequence[Target]:
    return target.writable() if isinstance(target, SeveralTargets) else (target,)


def enough_of(target: Target | SeveralTargets, places: Sequence[Target]) -> bool:
    return target.suffices(places) if isinstance(target, SeveralTargets) else bool(places)


class AppendFile(Protocol):
    """An object that grows. One writer; ``read`` may be called from any thread."""

    def append(self, buffers: Sequence[Buffer]) -> int:
        """Add the bytes at the end and return the offset at which they start.

        Buffers may be reused as soon as this returns. Not durable. The bytes can be read at once,
        through ``read`` and through the target. After an error the object's tail is undefined: give
        the object up. After ``NoSpace`` alone nothing was added.
        """

    def sync(self) -> int:
        """Make everything appended before this call durable; return the length that is durable.

        Callers at the same time share one flush. After an error the object must be given up: a
        second sync that succeeds proves nothing. What was not durable can still be read, until
        ``close``. After ``NoSpace`` alone nothing is lost, and syncing may be tried again.
        """

    def read(self, start: int, length: int) -> Buffer: ...

    def close(self) -> None:
        """Does not sync."""


class AppendTarget(Target, Protocol):
    """A target on a local file system, where a pack is written in place."""

    def create(self, key: str) -> AppendFile:
        """A new, empty object; its name is durable once its first ``sync`` has returned."""

    def read_cached(self, key: str, start: int, length: int) -> Buffer | None:
        """As ``get``, but ``None`` where answering would wait for the disk. Never blocks for long."""


def close_target(target: Target) -> None:
    """Have it let go of threads and connections, where it has any."""
    close = getattr(target, "close", None)
    if close is not None:
        close()
