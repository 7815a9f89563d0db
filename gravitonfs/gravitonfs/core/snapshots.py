"""Names of snapshots, and the numbers by which inodes and contents of the past are told from live ones.

Bit 62 marks what belongs to a snapshot; its number stands above the 40 bits of the live number. Number 0 is
the directory that lists them all.
"""

from __future__ import annotations

import re
from typing import Final

from gravitonfs.core.ids import ContentId, Ino
from gravitonfs.errors import Invalid

DIRECTORY: Final = b".snapshots"
"""At a volume's root: reachable, not listed."""
PAST: Final = 1 << 62
_BITS: Final = 40
_NUMBER: Final = (1 << _BITS) - 1
NUMBER_MAX: Final = (1 << 21) - 1
"""Higher ones are days of the trash."""
DIRECTORY_INO: Final = Ino(PAST | 1)

NAME: Final = r"[A-Za-z0-9](?:[A-Za-z0-9._:+ -]{0,98}[A-Za-z0-9._:+-])?"
_NAME: Final = re.compile(NAME)


def check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise Invalid(
            f"{name!r} is no name for a snapshot: it has up to 100 letters, digits, spaces and . _ - + :, and"
            " begins with a letter or a digit"
        )


def is_past(number: int) -> bool:
    return number >= PAST


def past(snapshot: int, number: int) -> int:
    """The number by which an inode or content is known in a snapshot."""
    if number > _NUMBER:
        raise Invalid(f"{number} is too large to be shown in a snapshot")
    return PAST | snapshot << _BITS | number


def past_ino(snapshot: int, ino: Ino) -> Ino:
    return Ino(past(snapshot, ino))


def past_content(snapshot: int, content: ContentId) -> ContentId:
    return ContentId(past(snapshot, content)) if content else content


def parted(number: int) -> tuple[int, int]:
    """The snapshot's number, and the live number."""
    return (number ^ PAST) >> _BITS, number & _NUMBER
