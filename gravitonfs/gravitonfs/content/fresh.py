"""Whether an answer may still be kept when it arrives: not where the thing asked for changed meanwhile.

Guarded by whoever owns it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple, TypeAlias

from gravitonfs.content.known_names import KnownNames
from gravitonfs.content.own_changes import Touches
from gravitonfs.core.ids import Ino
from gravitonfs.ports.namespace import Change, Touched
from gravitonfs.ports.ops import Reply

_MOST: Final = 20_000

Key: TypeAlias = Ino | tuple[Ino, bytes]
"""An inode, or a name in a directory."""


class Ticket(NamedTuple):
    """When a question was asked: another ``epoch`` once all is unknown, ``moment`` after each change."""

    epoch: int
    moment: int


class Fresh:
    """``doubtful``: batches may have been applied or not, and may yet be: nothing is kept until one was."""

    def __init__(self, known: KnownNames) -> None:
        self.doubtful = False
        self.asking = 0
        """Questions that are under way."""
        self._known = known
        self._moment = 0
        self._changed: dict[Key, int] = {}
        """The last moment at which they changed, while questions are under way that were asked before."""
        self._changing: Counter[Key] = Counter()
        self._applying = 0
        self._told: set[Change] = set()
        """By others while batches of our own are under way."""

    @property
    def applying(self) -> bool:
        """Own batches are on their way: what they change is not known."""
        return self._applying > 0

    def ticket(self) -> Ticket:
        return Ticket(self._known.epoch, self._moment)

    def asked(self) -> None:
        self.asking -= 1
        if not self.asking:
            self._changed.clear()

    def is_fresh(self, ticket: Ticket, key: Key) -> bool:
        return self._changed.get(key, -1) <= ticket.moment and key not in self._changing

    @property
    def undisturbed(self) -> bool:
        """All that is asked is fresh."""
        return not self._changed and not self._changing

    def begin(self, touched: Touches) -> None:
        """Before own batches are sent."""
        self._applying += 1
        self._changing.update(touched.inos)
        self._changing.update(touched.names)

    def end(self, touched: Touches, replies: Iterable[Reply]) -> None:
        """They were followed."""
        self._applying -= 1
        self._moment += 1
        keys: list[Key] = [*touched.inos, *touched.names]
        for key in keys:
            self._changing[key] -= 1
            if not self._changing[key]:
                del self._changing[key]
            self._mark(key)
        for reply in replies:
            for result in reply.results:
                if result is not None:
                    self._mark(result.ino)
        for change in self._told:
            self._known.drop_changed(change)
        if not self._applying:
            self._told.clear()

    def told(self, change: Change) -> None:
        """Of what another session, or background work, has changed; it is dropped already. An own batch
        that is under way may have been before it, so that following its answer says nothing."""
        self._moment += 1
        if change.touched & Touched.ENTRY:
            self._mark((change.parent, change.name))
            self._mark(change.parent)
        self._mark(change.ino)
        if self._applying:
            self._told.add(change)

    def _mark(self, key: Key) -> None:
        if self.asking:
            self._changed[key] = self._moment
            if len(self._changed) > _MOST:
                self._changed.clear()
                self._known.clear()  # a new epoch: no answer that is under way is kept
