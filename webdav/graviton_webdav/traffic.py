"""What bounds bodies: how large, how many at once, how fast. The limits themselves are the server's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from graviton_webdav.bodies import Body
from graviton_webdav.outgoing import Pieces
from gravitonfs.errors import FileTooLarge


class Traffic(Protocol):
    """Thread-safe."""

    def slot(self) -> AbstractContextManager[None]:
        """One upload. Throttled when too many run."""

    def pieces(self, body: Body, limit: int) -> Iterator[bytes]:
        """The body as it comes. FileTooLarge beyond ``limit``; Throttled where the rate is used up."""

    def pace(self, stream: Iterator[Pieces]) -> Iterator[Pieces]:
        """What is sent. Throttled only before the first piece."""

    def sent(self, count: int) -> None:
        """So many bytes are about to go in one piece. Throttled."""


class Unhindered:
    """No limit but that of sizes."""

    def slot(self) -> AbstractContextManager[None]:
        return nullcontext()

    def pieces(self, body: Body, limit: int) -> Iterator[bytes]:
        return bounded(body, limit)

    def pace(self, stream: Iterator[Pieces]) -> Iterator[Pieces]:
        return stream

    def sent(self, count: int) -> None:
        pass


def bounded(body: Body, limit: int) -> Iterator[bytes]:
    """The body as it comes. FileTooLarge beyond ``limit``, before the first byte where that is known."""
    declared = body.declared
    if declared is not None and declared > limit:
        raise FileTooLarge(f"the body has {declared} bytes, and {limit} are allowed")
    size = 0
    for piece in body.pieces():
        size += len(piece)
        if size > limit:
            raise FileTooLarge(f"the body has more than the {limit} bytes that are allowed")
        yield piece
