"""What the staged way of writing packs needs of its target beyond ``AppendTarget``."""

from __future__ import annotations

from typing import Protocol

from gravitonfs.ports.target import AppendTarget, Space


class StagingTarget(AppendTarget, Protocol):
    """Objects grow in local files, are read from there, and go up whole. Thread-safe."""

    def upload(self, key: str) -> None:
        """Store the staged object on the target, atomically; durable when this returns. Repeatable, also
        after an error. Its file stays, and serves readers, until it is closed."""

    def keep(self, key: str) -> None:
        """Leave the file in place when it is closed."""

    def left(self) -> list[str]:
        """Keys of the files that an earlier process has left; they can be read through the target."""

    def discard(self, key: str) -> None:
        """Remove such a file."""

    def staging_space(self) -> Space:
        """Of the local disk."""
