"""Decisions that depend on more than the database, remembered for when they have to be made again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

T = TypeVar("T")


class Tape:
    """The first time through each decision is made and kept; rewound, the same ones come back."""

    __slots__ = ("_next", "decisions")

    def __init__(self, decisions: list[object] | None = None) -> None:
        self.decisions: list[object] = [] if decisions is None else decisions
        self._next = 0

    def rewind(self) -> None:
        self._next = 0

    def decide(self, ask: Callable[..., T], *args: object) -> T:
        position = self._next
        self._next = position + 1
        if position < len(self.decisions):
            return cast("T", self.decisions[position])
        decision = ask(*args)
        self.decisions.append(decision)
        return decision
