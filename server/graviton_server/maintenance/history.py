"""Usage over time: noted now and then in the records of the first volume, and thinned as it ages.

A note that would say the same as the one before is not made: a store that nobody uses is left alone, and each
note holds until the next.
"""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import msgspec

from gravitonfs.content.volume import Volume
from gravitonfs.ports.namespace import Namespace
from gravitonfs.ports.ops import SetRecord
from gravitonfs.ports.store import VolumeRow

HISTORY: Final = "history"
SPACE: Final = "usage"
VOLUMES: Final = 100
"""The largest ones are noted by name; the others are in the sums alone."""
_DAY: Final = 86400
_STEPS: Final = ((_DAY, 0), (31 * _DAY, 3600), (5 * 365 * _DAY, _DAY))
"""Up to which age (seconds) one note of each so many seconds stays; 0: all. Older ones go."""
_SHARE: Final = 100
_KEY: Final = struct.Struct(">Q")


class Note(msgspec.Struct, frozen=True):
    """``volumes``: logical bytes and inodes, by name."""

    logical: int
    unique: int
    stored: int
    inodes: int
    volumes: dict[str, tuple[int, int]]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Note).decode


class MarkTimes:
    """How long a mark took, so that marks take a small part of the time. Used by one thread."""

    def __init__(self) -> None:
        self._took = 0.0
        self._ended = float("-inf")

    def due(self) -> bool:
        return time.monotonic() - self._ended >= _SHARE * self._took

    @contextmanager
    def timed(self) -> Iterator[None]:
        began = time.monotonic()
        yield
        self._ended = time.monotonic()
        self._took = self._ended - began


class History:
    """Thread-safe; ``_lock`` makes notes come one after the other."""

    def __init__(self, volume: Callable[[], Volume]) -> None:
        self._volume = volume
        self._lock = threading.Lock()

    def note(self, now: int, rows: Sequence[VolumeRow], unique: int, stored: int) -> str:
        """A sentence where something has changed. Not durable: the next commit takes it along. Fenced."""
        largest = sorted(rows, key=lambda row: -row.logical_bytes)[:VOLUMES]
        logical = sum(row.logical_bytes for row in rows)
        inodes = sum(row.inodes for row in rows)
        made = Note(
            logical, unique, stored, inodes, {row.name: (row.logical_bytes, row.inodes) for row in largest}
        )
        with self._lock:
            volume = self._volume()
            kept = volume.namespace.records(SPACE)
            if kept and _decode(kept[-1][1]) == made:
                return ""
            times = [_KEY.unpack(key)[0] for key, _ in kept]
            gone = [SetRecord(SPACE, _KEY.pack(at), None) for at in outdated(times, now)]
            volume.submit(*gone, SetRecord(SPACE, _KEY.pack(now), _encode(made)))
        return f"usage noted, {len(kept) + 1 - len(gone)} notes kept"


def read(namespace: Namespace) -> list[dict[str, Any]]:
    """The oldest first; times in seconds since the epoch."""
    found = []
    for key, value in namespace.records(SPACE):
        note = _decode(value)
        found.append(
            {
                "time": _KEY.unpack(key)[0],
                "logical_bytes": note.logical,
                "unique_bytes": note.unique,
                "stored_bytes": note.stored,
                "inodes": note.inodes,
                "volumes": {
                    name: {"logical_bytes": size, "inodes": inodes}
                    for name, (size, inodes) in note.volumes.items()
                },
            }
        )
    return found


def outdated(times: Sequence[int], now: int) -> list[int]:
    """Which of ascending times may go: of each step the last one stays, and what is too old does not."""
    gone = []
    following: tuple[int, int] | None = None
    for at in reversed(times):
        step = next((step for most, step in _STEPS if now - at <= most), None)
        if step is None:
            gone.append(at)
            continue
        if not step:
            continue
        place = step, at // step
        if place == following:
            gone.append(at)
        following = place
    return gone
