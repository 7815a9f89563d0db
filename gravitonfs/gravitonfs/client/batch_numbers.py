"""The caller's batch numbers, and those at the daemon.

They differ after a call that gave up: the caller uses its number again, for something else, while the daemon
may have applied what was sent; and after a session was fenced, as its successor counts from 1.

Guarded by the attachment's lock.
"""

from __future__ import annotations

from collections.abc import Sequence

from gravitonfs.ports.ops import Batch, Reply


class BatchNumbers:
    def __init__(self) -> None:
        self.shift = 0
        """The daemon's number less the caller's."""
        self.unsettled: list[Batch] = []
        """With the daemon's numbers: sent, and not known whether applied."""
        self._session = 0
        self._last = 0

    def of_session(self, session: int) -> None:
        """Another one than before counts from 1, and knows nothing of what was sent to the other."""
        if session != self._session:
            if self._session:
                self.shift = -self._last
                self.unsettled = []
            self._session = session

    def resumed(self, session: int, last: int) -> None:
        """The caller counts from 1 in a session that has ``last`` batches."""
        self._session = session
        self.shift = last

    def outbound(self, batches: Sequence[Batch]) -> list[Batch]:
        shift = self.shift
        if not shift:
            return list(batches)
        return [Batch(b.number + shift, b.time_ns, b.ops, b.packs, b.loose) for b in batches]

    def inbound(self, batches: Sequence[Batch], replies: list[Reply]) -> list[Reply]:
        if batches:
            self._last = max(self._last, batches[-1].number)
        shift = self.shift
        if not shift:
            return replies
        return [
            r._replace(number=r.number - shift, durable_through=max(r.durable_through - shift, 0))
            for r in replies
        ]

    def settled(self, batch: Batch) -> None:
        """It has its number at the daemon; the caller's is free."""
        self.unsettled.remove(batch)
        self.shift += 1
