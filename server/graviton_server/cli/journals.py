"""The local journals of mounts: those of dead ones go into the volume, a new one answers ``fsync``."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from graviton_server.cli import output
from graviton_server.cli.options import Choices
from gravitonfs.core.units import format_size
from gravitonfs.journal.journal import DEFAULT_LIMIT, Journal
from gravitonfs.journal.place import Place, fresh, left_behind
from gravitonfs.journal.scan import segments

if TYPE_CHECKING:
    from gravitonfs.client.connection import Connection

log = logging.getLogger("graviton.journal")

_TELL_EVERY: Final = 1.0


def state_directory() -> Path:
    """Where what has to survive a restart lies, if nothing else is said."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "graviton"


def left_in(journal: Path) -> int:
    """Bytes of a closed journal: nothing where the store has everything."""
    return sum(path.stat().st_size for path in segments(journal))


class LocalJournals:
    """Of one mount."""

    def __init__(self, source: str, volume: str, choices: Choices) -> None:
        self._source = source
        self._volume = volume
        self._choices = choices
        self._root = choices.cache_dir or state_directory()
        self._place: Place | None = None
        self.journal: Journal | None = None

    def recover(self, connection: Connection) -> None:
        """What dead mounts of this volume have left here is stored when this returns."""
        from gravitonfs.client.recovery import recover

        for place in left_behind(self._root, self._volume):
            try:
                if self._choices.ro:
                    log.warning("%s waits for a mount that may write", place.path)
                else:
                    recover(place, connection, self._volume, self._choices.timeout, _Telling())
            finally:
                place.close()

    def begin(self) -> Journal | None:
        """A journal for this mount, where it is to have one."""
        if self._choices.local and not self._choices.ro and self.journal is None:
            self._place = fresh(self._root, self._volume)
            limit = self._choices.journal_size or DEFAULT_LIMIT
            self.journal = Journal(self._place.path, source=self._source, limit=limit)
        return self.journal

    def told(self) -> str:
        """What ``fsync`` waits for, for people."""
        if self.journal is None:
            return "durability=store: fsync returns when the store has everything"
        return (
            f"durability=local: fsync returns when the journal in {self.journal.directory} has everything"
            f" (up to {format_size(self.journal.limit)}); the store gets it right after"
        )

    def left_behind(self) -> str:
        """What the next mount will find, for people; empty where there is nothing."""
        left = 0 if self.journal is None else left_in(self.journal.directory)
        if self.journal is None or not left:
            return ""
        return (
            f"{format_size(left)} are left in the journal {self.journal.directory}:"
            f" the next mount of {self._source} with the same cache-dir uploads them"
        )

    def close(self) -> None:
        if self._place is not None:
            self._place.close()


class _Telling:
    """How far it is, now and then."""

    def __init__(self) -> None:
        self._told = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        if time.monotonic() - self._told >= _TELL_EVERY:
            self._told = time.monotonic()
            output.say(f"uploading a journal: {format_size(done)} of {format_size(total)}")
