"""A session whose client is another process: what it is yet to be told and asked.

Clients are not waited for. When an inode loses its last name, every remote session is taken to have it
open until the client has answered (``asked``); what others change is queued until the client has seen it.
"""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from gravitonfs.core.hashing import block_id
from gravitonfs.core.ids import Ino
from gravitonfs.errors import Invalid
from gravitonfs.ports.namespace import Change, Namespace

SECRET: Final = 16
QUEUE: Final = 20_000
"""Changes kept for a client that does not listen; beyond it is told to drop everything."""
ASKED: Final = 50_000
"""Questions kept at a time; those beyond are claims in the database, asked when these are answered."""
_PIECE: Final = 2_000
"""Changes in one message."""


class Handle(NamedTuple):
    """What a client shows: the session's number and its secret."""

    number: int
    secret: bytes

    @classmethod
    def parse(cls, data: bytes) -> Handle:
        if len(data) != 8 + SECRET:
            raise Invalid("this is no session: attach first")
        return cls(int.from_bytes(data[:8], "big"), data[8:])

    def pack(self) -> bytes:
        return self.number.to_bytes(8, "big") + self.secret

    @property
    def digest(self) -> bytes:
        """What is kept in the database."""
        return block_id(self.secret)


def fresh_secret() -> bytes:
    return secrets.token_bytes(SECRET)


class News(NamedTuple):
    sequence: int
    changes: list[Change]
    lost: bool
    asked: list[Ino]
    recalled: bool = False


class RemoteSession:
    """``_state`` guards the queue and the questions. It is taken with the namespace's lock held, so nothing
    is called while it is held."""

    namespace: Namespace
    handle: Handle

    def __init__(
        self, principal: str, *, claims: bool, listens: bool, journals: bool = False, process: str = ""
    ) -> None:
        self.principal = principal
        self.answers_claims = claims
        self.listens = listens
        self.journals = journals
        """Its client keeps a journal, and may come back after days."""
        self.process = process
        self.last_heard = time.monotonic()
        self.ended = False
        self._state = threading.Condition()
        self._queue: deque[tuple[int, list[Change]]] = deque()
        self._queued = 0
        self._first = self._sequence = time.time_ns() >> 10
        """Not those that another daemon counts for the same session: what it has told is not told here."""
        self._lost = False
        self._asked: dict[Ino, None] = {}
        self._more_to_ask = False
        self._watchers = 0
        self._recalled = 0
        self._let_go = 0

    @property
    def number(self) -> int:
        return self.handle.number

    def has(self, handle: Handle) -> bool:
        return hmac.compare_digest(self.handle.secret, handle.secret)

    def heard(self) -> None:
        self.last_heard = time.monotonic()

    # Called by the namespace.

    def listener(self, changes: Sequence[Change]) -> None:
        with self._state:
            self._sequence += 1
            if self._queued + len(changes) > QUEUE:
                self._queue.clear()
                self._queued = 0
                self._lost = True
            else:
                self._queue.append((self._sequence, list(changes)))
                self._queued += len(changes)
            self._state.notify_all()

    def claims(self, ino: Ino) -> bool:
        with self._state:
            if len(self._asked) < ASKED:
                self._asked[ino] = None
                self._state.notify_all()
            else:
                self._more_to_ask = True
        return True

    def recall(self) -> None:
        """Another session waits: the client is told so, by every watch until it has let go."""
        with self._state:
            self._recalled += 1
            self._state.notify_all()

    # Called by services.

    def let_go(self) -> None:
        with self._state:
            self._let_go = self._recalled

    def answered(self, inos: Sequence[int]) -> None:
        with self._state:
            for ino in inos:
                self._asked.pop(Ino(ino), None)

    def answered_all(self) -> bool:
        """The questions are answered, and there were more than could be kept. True once."""
        with self._state:
            if self._asked or not self._more_to_ask:
                return False
            self._more_to_ask = False
            return True

    def asked(self) -> list[Ino]:
        if not self._asked:  # nearly always; a question that comes just now is told the next time
            return []
        with self._state:
            return list(self._asked)[:_PIECE]

    def seen(self, sequence: int) -> None:
        """The client has had everything up to here."""
        with self._state:
            while self._counted(sequence) and self._queue and self._queue[0][0] <= sequence:
                self._queued -= len(self._queue.popleft()[1])

    def _counted(self, sequence: int) -> bool:
        """Here, and not by another daemon."""
        return self._first <= sequence <= self._sequence

    def watch(self, after: int) -> Iterator[News | None]:
        """What comes behind ``after``, as it comes; None now and then, to look whether anybody listens.

        A second watcher ends the first: the client has lost that stream.
        """
        with self._state:
            if after and not self._counted(after):
                self._lost, after = True, 0
            self._watchers += 1
            mine = self._watchers
            self._state.notify_all()
        self.seen(after)
        told = after
        asked: list[Ino] = []
        recalled = self._let_go
        while True:
            with self._state:
                if not self._news(told, asked) and self._recalled == recalled:
                    self._state.wait(1.0)
                if self.ended or self._watchers != mine:
                    return
                news = self._take(told, asked)
                if self._recalled > max(recalled, self._let_go):
                    news = (news or News(told, [], False, []))._replace(recalled=True)
                recalled = self._recalled
            if news is not None:
                told, asked = news.sequence, asked + news.asked
                asked = [ino for ino in asked if ino in self._asked]
            yield news

    def _news(self, told: int, asked: list[Ino]) -> bool:
        behind = bool(self._queue) and self._queue[-1][0] > told
        return self.ended or self._lost or behind or len(self._asked) > len(asked)

    def _take(self, told: int, asked: list[Ino]) -> News | None:
        changes: list[Change] = []
        sequence = told
        for number, some in self._queue:
            if number > told:
                changes += some
                sequence = number
                if len(changes) >= _PIECE:
                    break
        lost, self._lost = self._lost, False
        if lost and not changes:
            sequence = self._sequence
        known = set(asked)
        fresh = [ino for ino in self._asked if ino not in known][:_PIECE]
        if not (changes or lost or fresh):
            return None
        return News(sequence, changes, lost, fresh)

    def pending(self) -> int:
        """Changes and questions that the client has not dealt with yet."""
        with self._state:
            return self._queued + len(self._asked)

    def end(self) -> None:
        with self._state:
            self.ended = True
            self._state.notify_all()
