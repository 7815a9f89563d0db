"""One file of a journal, while it is written. Guarded by the journal's lock."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gravitonfs.core.ids import Ino

SUFFIX: Final = ".journal"


def path_of(directory: Path, number: int) -> Path:
    return directory / f"{number:016d}{SUFFIX}"


class SegmentFile:
    """``held``: of each inode with bytes that the store does not have for sure, the last record here and how
    many bytes; ``last_batch``: the highest number of a batch here."""

    def __init__(self, directory: Path, number: int, session: int) -> None:
        self.number = number
        self.session = session
        self.path = path_of(directory, number)
        self.size = 0
        self.held: dict[Ino, tuple[int, int]] = {}
        self.last_batch = 0
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_APPEND
        self.fd = os.open(self.path, flags, 0o600)

    def append(self, parts: Sequence[bytes]) -> None:
        """All or nothing, as far as this process sees. OSError."""
        wanted = sum(map(len, parts))
        try:
            written = os.writev(self.fd, parts)
            if written < wanted:
                rest = b"".join(parts)[written:]
                while rest:
                    rest = rest[os.write(self.fd, rest) :]
        except OSError:
            os.ftruncate(self.fd, self.size)
            raise
        self.size += wanted

    def hold(self, ino: Ino, sequence: int, size: int) -> None:
        before = self.held.get(ino)
        self.held[ino] = (sequence, size + (before[1] if before is not None else 0))

    def release(self, ino: Ino, sequence: int) -> None:
        """The bytes of an inode up to here are safe at the store."""
        found = self.held.get(ino)
        if found is not None and found[0] <= sequence:
            del self.held[ino]

    def is_done(self, session: int, durable: int) -> bool:
        """Nothing here is needed any more."""
        return not self.held and (self.session != session or self.last_batch <= durable)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
