"""Quotas as an administrator sees them: how much may lie below a directory, and how much does."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from gravitonfs.core.ids import Ino


class QuotaRow(NamedTuple):
    """Limits: None for none. ``counting``: what was there before the quota is being counted, and nothing is
    refused until that is done."""

    directory: Ino
    max_bytes: int | None
    max_inodes: int | None
    bytes: int
    inodes: int
    counting: bool


class QuotaCheck(NamedTuple):
    """The row, and what was counted at the same moment."""

    row: QuotaRow
    bytes: int
    inodes: int
    repaired: bool

    @property
    def right(self) -> bool:
        return (self.bytes, self.inodes) == (self.row.bytes, self.row.inodes)


class Quotas(Protocol):
    """Thread-safe. What lies below a directory counts, not the directory itself; sizes of files, each once,
    and inodes. The root's quota is the volume's: inodes without names count for it, too.

    A batch that would make a usage that has a limit greater, and greater than the limit, fails whole with
    QuotaExceeded; what takes away is never refused.
    """

    def rows(self, volume: str) -> list[QuotaRow]:
        """NotFound where there is no such volume."""

    def set(self, volume: str, directory: Ino, max_bytes: int | None, max_inodes: int | None) -> QuotaRow:
        """Give a directory a quota, or other limits. Waits for a session that has the volume to itself to
        let go, and until what is there is counted, while changes go on. A limit below what is used is taken:
        nothing more is then. Idempotent, durable. NotFound, NotADirectory, Invalid (files below have names
        outside, too)."""

    def delete(self, volume: str, directory: Ino) -> None:
        """Durable. NotFound."""

    def check(self, volume: str, directory: Ino, *, repair: bool) -> QuotaCheck:
        """Count again, at one moment, while changes go on. ``repair``: put right what is wrong, and end
        ``counting``; durable. NotFound."""
