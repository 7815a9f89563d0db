"""Decisions that depend on more than the database, remembered for when they have to be made again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

T = TypeVar("T")


class Tape:
    """The first time through each decision is made and kept; rewound, the same ones come back."""

    __slots__ = ("_decisions", "_next")

    def __init__(self) -> None:
        self._decisions: list[object] = []
        self._next = 0

    def rewind(self) -> None:
        self._next = 0

    def decide(self, ask: Callable[..., T], *args: object) -> T:
        position = self._next
        self._next = position + 1
        if position < len(self._decisions):
            return cast("T", self._decisions[position])
        decision = ask(*args)
        self._decisions.append(decision)
        return decision
