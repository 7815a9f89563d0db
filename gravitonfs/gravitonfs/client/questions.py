"""Whether this process has inodes open that lost their last names: asked by the daemon, answered later."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

from gravitonfs.core.ids import Ino
from gravitonfs.ports.namespace import Claims
from gravitonfs.ports.ops import Batch, Create, Disclaim, Publish
from gravitonfs.rpc.graviton.v1 import namespace_pb2 as pb


class Questions:
    """``_lock`` guards the answers that are to be sent; ``waiting`` is set while there are some."""

    def __init__(self, claims: Claims | None) -> None:
        self._claims = claims
        self._lock = threading.Lock()
        self._answers: dict[Ino, bool] = {}
        self._staged: set[Ino] = set()
        self.waiting = threading.Event()

    def applied(self, batches: Sequence[Batch]) -> None:
        """Staged inodes have no name and are held, whatever is open; they are let go by ops."""
        for batch in batches:
            for op in batch.ops:
                if isinstance(op, Create):
                    if not op.parent:
                        self._staged.add(op.ino)
                elif isinstance(op, Publish):
                    self._staged.discard(op.staged)
                elif isinstance(op, Disclaim):
                    self._staged.difference_update(op.inos)

    def asked(self, inos: Iterable[int]) -> None:
        for number in inos:
            ino = Ino(number)
            held = ino in self._staged or (self._claims is not None and self._claims(ino))
            with self._lock:
                self._answers[ino] = held
            self.waiting.set()

    def take(self, at_least: int = 1) -> pb.Answers | None:
        """What is to be said with the next call, where it is so much; ``give_back`` if that fails."""
        if len(self._answers) < at_least:
            return None
        with self._lock:
            answers, self._answers = self._answers, {}
            self.waiting.clear()
        return pb.Answers(
            released=[ino for ino, held in answers.items() if not held],
            held=[ino for ino, held in answers.items() if held],
        )

    def give_back(self, answers: pb.Answers | None) -> None:
        if answers is None:
            return
        with self._lock:
            for ino in answers.released:
                self._answers.setdefault(Ino(ino), False)
            for ino in answers.held:
                self._answers.setdefault(Ino(ino), True)
        self.waiting.set()
