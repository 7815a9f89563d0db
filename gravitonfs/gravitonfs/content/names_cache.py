"""What a session keeps of names and attributes, and how it comes to hear that they have changed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from gravitonfs.content.fresh import Fresh
from gravitonfs.content.known_names import KnownNames
from gravitonfs.ports.namespace import EVERYTHING, Change, Listener, Recall


class AnswerCounts:
    """Questions answered from memory, and asked. Counted without a lock: for people."""

    def __init__(self) -> None:
        self.hits = 0
        self.misses = 0


class NamesCache:
    """What is kept for one session: made before it attaches, as the store tells it of changes and recalls.

    ``lock`` guards what is known, but for single look-ups, which need none.
    """

    def __init__(self, budget: int, counts: AnswerCounts | None = None) -> None:
        self.counts = counts or AnswerCounts()
        self.known = KnownNames(budget)
        self.lock = threading.Lock()
        self.fresh = Fresh(self.known)
        self.settle: Callable[[], None] = lambda: None
        """Called at a recall, before all is forgotten: what was answered and not applied is applied."""

    def listening(self, listener: Listener | None) -> Listener:
        """``listener`` hears changes once they are dropped here."""

        def listen(changes: Sequence[Change]) -> None:
            self._drop(changes)
            if listener is not None:
                listener(changes)

        return listen

    def recalling(self, recall: Recall | None) -> Recall:
        def recalled() -> None:
            with self.lock:
                pass  # who answers something just now has done so: nobody does from now on
            try:
                self.settle()
            finally:
                with self.lock:
                    self.known.clear()
                if recall is not None:
                    recall()

        return recalled

    def _drop(self, changes: Sequence[Change]) -> None:
        with self.lock:
            for change in changes:
                if change == EVERYTHING:
                    self.known.clear()
                    continue
                self.known.drop_changed(change)
                self.fresh.told(change)
