"""Bodies in and out: bounded, paced, counted."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Final, TypeAlias

from typing_extensions import Buffer

from graviton_server.control.tallies import Tallies
from graviton_server.http_api.settings import HttpSettings
from graviton_server.limits import ByteRate, UploadSlots
from graviton_webdav.bodies import Body
from gravitonfs.errors import FileTooLarge

_FOREVER: Final = math.inf
Pieces: TypeAlias = Sequence[Buffer]
"""What goes out together."""


class Transfers:
    """``rate_in`` and ``rate_out`` are shared with the other front ends; None: no limit."""

    def __init__(
        self,
        settings: HttpSettings,
        slots: UploadSlots,
        tallies: Tallies,
        rate_in: ByteRate | None,
        rate_out: ByteRate | None,
    ) -> None:
        self._settings = settings
        self._slots = slots
        self._rate_in = rate_in
        self._rate_out = rate_out
        self.tallies = tallies

    def slot(self) -> AbstractContextManager[None]:
        """One upload; Throttled when too many run."""
        return self._slots.one()

    def pieces(self, body: Body, limit: int) -> Iterator[bytes]:
        """The body as it comes. FileTooLarge beyond ``limit``; Throttled where the rate is used up."""
        declared = body.declared
        if declared is not None and declared > limit:
            raise FileTooLarge(f"the body has {declared} bytes, and {limit} are allowed")
        size = 0
        for piece in body.pieces():
            size += len(piece)
            if size > limit:
                raise FileTooLarge(f"the body has more than the {limit} bytes that are allowed")
            if self._rate_in is not None:
                self._rate_in.pace(len(piece), self._settings.request_timeout)
            yield piece

    def pace(self, stream: Iterator[Pieces]) -> Iterator[Pieces]:
        """What is read, at the rate. Throttled only before the first piece: after it an answer has begun."""
        if self._rate_out is None:
            return stream
        return self._paced(stream, self._rate_out)

    def _paced(self, stream: Iterator[Pieces], rate: ByteRate) -> Iterator[Pieces]:
        patience = self._settings.request_timeout
        for pieces in stream:
            rate.pace(sum(memoryview(piece).nbytes for piece in pieces), patience)
            patience = _FOREVER
            yield pieces


class Outgoing:
    """A stream whose end is noticed however it comes: it is always closed by whoever sends it.

    The first piece is read at once, so that what fails then is still answered as an error.
    """

    def __init__(self, stream: Iterator[Pieces], done: AbstractContextManager[object]) -> None:
        """``done`` has been entered; it is left when the stream is closed."""
        self._stream = stream
        self._done: AbstractContextManager[object] | None = done
        try:
            self._first: Pieces | None = next(stream, None)
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Outgoing:
        return self

    def __next__(self) -> Pieces:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return next(self._stream)

    def close(self) -> None:
        close = getattr(self._stream, "close", None)
        if close is not None:
            close()
        done, self._done = self._done, None
        if done is not None:
            done.__exit__(None, None, None)
