"""The directory ``.trash``, and the numbers and names by which what was removed is known there.

A day of removals is to numbers what a snapshot is (``core.snapshots``), from ``FIRST`` up: so whatever is
found in the trash has a number of its own, and is told from the live inode by it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from gravitonfs.core.ids import NAME_MAX, Ino
from gravitonfs.core.snapshots import NUMBER_MAX, PAST, parted, past_ino

DIRECTORY: Final = b".trash"
"""At a volume's root: reachable, not listed."""
DIRECTORY_INO: Final = Ino(PAST | 2)
FIRST: Final = NUMBER_MAX + 1
DAY_NS: Final = 86_400 * 10**9
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_VERSION: Final = re.compile(rb"@\d{8}-\d{6}-(\d{1,19})\Z")


def is_trash(ino: int) -> bool:
    return ino >= PAST and (ino == DIRECTORY_INO or parted(ino)[0] >= FIRST)


def day_of(removed_ns: int) -> int:
    """Days since 1970, in UTC."""
    return removed_ns // DAY_NS


def trash_ino(day: int, ino: Ino) -> Ino:
    return past_ino(FIRST + day, ino)


def trash_parted(number: Ino) -> tuple[int, Ino]:
    """The day, and the live number."""
    snapshot, ino = parted(number)
    return snapshot - FIRST, Ino(ino)


def day_name(day: int) -> bytes:
    return (_EPOCH + timedelta(days=day)).strftime("%Y-%m-%d").encode()


def parse_day(name: bytes) -> int | None:
    try:
        day = (datetime.strptime(name.decode(), "%Y-%m-%d").replace(tzinfo=UTC) - _EPOCH).days
    except ValueError:
        return None
    return day if day >= 0 and day_name(day) == name else None


def version_name(name: bytes, removed_ns: int, ino: int) -> bytes:
    """Of what was removed under a name that something removed later, or still there, has."""
    removed = datetime.fromtimestamp(removed_ns // 10**9, UTC)
    mark = f"@{removed:%Y%m%d-%H%M%S}-{ino}".encode()
    return name[: NAME_MAX - len(mark)] + mark


def strip_version(name: bytes) -> bytes:
    """The name before the mark, as far as there was room for it."""
    return name if version_ino(name) is None else _VERSION.sub(b"", name)


def version_ino(name: bytes) -> Ino | None:
    found = _VERSION.search(name)
    return None if found is None else Ino(int(found[1]))
