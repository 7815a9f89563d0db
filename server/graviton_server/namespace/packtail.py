"""What engines tell each other of packs, where all of them are in one process: kept in memory.

Guarded by the store's lock. Positions are those of one incarnation: an engine enrols when it begins.
"""

from __future__ import annotations

from typing import Final

SILENT_NS: Final = 60 * 10**9
"""Engines that were not heard of for so long hold nothing back."""


class PackTail:
    def __init__(self) -> None:
        self.position = 0
        self._changed: dict[int, int] = {}
        self._engines: dict[str, tuple[int, int]] = {}

    def changed(self, number: int) -> None:
        """A pack's state has changed. When a group is applied again it is told again, which is harmless."""
        self.position += 1
        self._changed.pop(number, None)
        self._changed[number] = self.position  # the youngest last

    def gone(self, number: int) -> None:
        self._changed.pop(number, None)

    def heard(self, owner: str, position: int, now: int) -> None:
        self._engines[owner] = (position, now)

    def leave(self, owner: str) -> None:
        self._engines.pop(owner, None)

    def behind(self, after: int, limit: int) -> list[tuple[int, int]]:
        """(position, pack number), ascending."""
        if after >= self.position:
            return []
        found: list[tuple[int, int]] = []
        for number, position in reversed(self._changed.items()):
            if position <= after:
                break
            found.append((position, number))
        return found[::-1][:limit]

    def alive(self, horizon: int) -> set[str]:
        return {owner for owner, (_, heard) in self._engines.items() if heard > horizon}

    def read_by_all(self, now: int) -> int:
        """The position up to which every engine alive has read."""
        horizon = now - SILENT_NS
        return min((at for at, heard in self._engines.values() if heard > horizon), default=self.position)

    def of(self, number: int) -> int:
        return self._changed.get(number, 0)
