"""Which release first wrote which version of each format, and the sentence that refuses a newer one."""

from __future__ import annotations

from enum import Enum
from typing import Final

import gravitonfs
from gravitonfs.errors import FormatError

SAME: Final = "0.1.0"
"""Until it is released, whoever has it keeps to the newest commit."""


class Format(Enum):
    """``value``: what an error calls it. One that is not named in ``WRITTEN_BY`` is a mistake."""

    VOLUME = "volume format"
    SQLITE = "schema of the namespace in SQLite"
    POSTGRES = "schema of the namespace in PostgreSQL"
    DUMP = "format of dumps"
    BACKUP = "format of a dump's manifest"
    TARGET = "layout of targets"
    PACK = "pack format"
    BUNDLE = "format of bundles of footers"
    INDEX = "format of the block index"
    JOURNAL = "journal format"
    CACHE = "format of the disk cache"


WRITTEN_BY: Final[dict[Format, tuple[str, ...]]] = {
    Format.VOLUME: (SAME,),
    Format.SQLITE: (SAME,) * 7,
    Format.POSTGRES: (SAME,) * 6,
    Format.DUMP: (SAME,),
    Format.BACKUP: (SAME,),
    Format.TARGET: (SAME,),
    Format.PACK: (SAME,),
    Format.BUNDLE: (SAME,),
    Format.INDEX: (SAME,),
    Format.JOURNAL: (SAME,),
    Format.CACHE: (SAME,),
}
"""The release that first wrote version 1, 2, ...: the oldest that opens it. Also in docs/upgrade.md."""


def newer(what: str, kind: Format, found: object, *, release: str = "", otherwise: str = "") -> FormatError:
    """``what`` has version ``found``, which this release does not know. ``release``: the one that is needed,
    where that is written beside it. ``otherwise``: what else helps."""
    known = len(WRITTEN_BY[kind])
    word = "schema" if kind in (Format.SQLITE, Format.POSTGRES) else "format"
    needed = (
        f"graviton {release} or newer" if release else "a newer graviton: the one that wrote it, or later"
    )
    ours = f"this version knows up to {known} (graviton {gravitonfs.__version__})"
    return FormatError(f"{what} has {word} {found}, and {ours}: use {needed}{otherwise}")
