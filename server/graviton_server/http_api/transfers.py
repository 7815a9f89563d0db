"""Bodies in and out: bounded, paced, counted. The HTTP API's and the WebDAV gateway's."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Final

from graviton_server.control.tallies import Tallies
from graviton_server.limits import ByteRate, UploadSlots
from graviton_webdav.bodies import Body
from graviton_webdav.outgoing import Pieces
from graviton_webdav.traffic import bounded

_FOREVER: Final = math.inf


class Limits:
    """Implements ``Traffic``. Slots and rates are shared with the other front ends; None: no limit.
    ``patience``: who would have to wait longer for the rate, in seconds, is refused."""

    def __init__(
        self, slots: UploadSlots, rate_in: ByteRate | None, rate_out: ByteRate | None, patience: float
    ) -> None:
        self._slots = slots
        self._rate_in = rate_in
        self._rate_out = rate_out
        self._patience = patience

    def slot(self) -> AbstractContextManager[None]:
        return self._slots.one()

    def pieces(self, body: Body, limit: int) -> Iterator[bytes]:
        for piece in bounded(body, limit):
            if self._rate_in is not None:
                self._rate_in.pace(len(piece), self._patience)
            yield piece

    def pace(self, stream: Iterator[Pieces]) -> Iterator[Pieces]:
        if self._rate_out is None:
            return stream
        return self._paced(stream, self._rate_out)

    def sent(self, count: int) -> None:
        if self._rate_out is not None:
            self._rate_out.pace(count, self._patience)

    def _paced(self, stream: Iterator[Pieces], rate: ByteRate) -> Iterator[Pieces]:
        patience = self._patience
        for pieces in stream:
            rate.pace(sum(memoryview(piece).nbytes for piece in pieces), patience)
            patience = _FOREVER  # an answer has begun
            yield pieces


class Transfers(Limits):
    """Of the HTTP API, with what it counts."""

    def __init__(
        self,
        slots: UploadSlots,
        rate_in: ByteRate | None,
        rate_out: ByteRate | None,
        patience: float,
        tallies: Tallies,
    ) -> None:
        super().__init__(slots, rate_in, rate_out, patience)
        self.tallies = tallies
