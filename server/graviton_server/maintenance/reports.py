"""What the work answers. ``msgspec.to_builtins`` makes JSON of any of it."""

from __future__ import annotations

from typing import Final

import msgspec

UNUSED: Final = "unused-damaged"
_TOLD: Final = frozenset(("unclaimed", UNUSED))
"""Kinds by which nothing is lost, and which nobody has to do anything about."""


class Collected(msgspec.Struct, frozen=True, kw_only=True):
    """``condemned``: packs that nothing needs any more (with ``dry_run`` those that would go).

    ``freed_bytes`` were given back to the targets (with ``dry_run``: would be), by deleting those
    packs and what an interrupted run had left. ``missing``: blocks that files name and no pack has.
    """

    dry_run: bool
    packs: int
    condemned: int
    deleted: int
    freed_bytes: int
    live_blocks: int
    live_bytes: int
    missing: int
    compacted: int = 0
    moved_bytes: int = 0
    kept: int = 0
    """Packs that were to go and that somebody came to rely on meanwhile."""
    erased: int = 0
    """From the trash: files, links and trees."""
    seconds: float = 0.0


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong.

    ``kind``: ``namespace``, ``pack-missing``, ``pack-damaged``, ``copy-damaged`` (one of several),
    ``block-damaged``, ``block-missing``, ``file-damaged``, ``dump-damaged``, ``index``, ``database``;
    told, and no damage, are ``unclaimed`` (an object that no row names) and ``unused-damaged`` (a bad record
    of a block that has been stored again). ``ranges``: (start, end) of the file's
    bytes that cannot be read.
    """

    kind: str
    what: str
    path: str = ""
    ino: int = 0
    ranges: tuple[tuple[int, int], ...] = ()
    pack: int = 0
    key: str = ""
    block: str = ""

    @property
    def is_damage(self) -> bool:
        return self.kind not in _TOLD


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of repair: what ``fsck --repair`` would do about ``count`` things, and what is lost by it."""

    kind: str
    count: int
    does: str
    loses: str
    examples: tuple[str, ...] = ()


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of ``fsck``. ``plan``: what ``--repair`` would do now. ``repaired``: sentences on what was
    put right."""

    findings: tuple[Finding, ...]
    more_findings: int
    """Beyond those listed."""
    inodes: int
    extents: int
    blocks: int
    packs: int
    bytes_read: int
    plan: tuple[Planned, ...] = ()
    repaired: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def clean(self) -> bool:
        return not self.more_findings and not any(finding.is_damage for finding in self.findings)


class Scrubbed(msgspec.Struct, frozen=True, kw_only=True):
    """``complete``: every pack there was has been read, else the next run goes on behind ``position``."""

    findings: tuple[Finding, ...]
    packs: int
    blocks: int
    bytes_read: int
    complete: bool
    position: int
    seconds: float = 0.0

    @property
    def clean(self) -> bool:
        return not any(finding.is_damage for finding in self.findings)


class Dumped(msgspec.Struct, frozen=True, kw_only=True):
    lines: int
    plain_bytes: int
    bytes: int
    digest: str
    seconds: float = 0.0


class Archived(msgspec.Struct, frozen=True, kw_only=True):
    """A dump on the targets: ``bytes`` as it lies there, of which ``new_bytes`` were in no dump before it."""

    dump: str
    lines: int
    plain_bytes: int
    bytes: int
    new_bytes: int
    packs: int
    seconds: float = 0.0


class BackupStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Dumps on the targets. ``age``: seconds since the newest complete one was begun; without any, since the
    store was founded. ``failures``, ``error``: of this process, and of its last try."""

    interval: float
    keep: int
    newest: str
    made: float | None
    age: float
    bytes: int
    new_bytes: int
    failures: int
    error: str


class KeptDump(msgspec.Struct, frozen=True, kw_only=True):
    """``here``: its file is with this engine, ``bytes`` long and ``made`` then (seconds since the epoch).
    ``on_targets``: it lies there, whoever made it. ``packs``, ``pack_bytes``: what it holds back, where the
    database knows that."""

    name: str
    owner: str
    here: bool
    on_targets: bool = False
    made: float | None = None
    bytes: int | None = None
    packs: int | None = None
    pack_bytes: int | None = None


class DroppedDump(msgspec.Struct, frozen=True, kw_only=True):
    """``packs`` are needed by nothing else, and go; ``freed_bytes`` with what others have of it alone, which
    compaction gives back where it is worth it."""

    name: str
    owner: str
    packs: int
    freed_bytes: int


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """What ``load`` found different from when the dump was made. Packs that are gone are no damage where
    what the dump needs was moved to others: ``fsck`` tells."""

    packs_gone: int
    packs_adopted: int
    copies_found: int = 0
    copies_lost: int = 0
    """Of several, on targets that answer."""
    targets_away: tuple[str, ...] = ()
    dump: str = ""
    made: float | None = None
    lines: int = 0


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """``unique_bytes``: plain bytes of the distinct blocks that files name. ``stored_bytes``: what the
    target holds in packs, and loose blocks. The ratios are 1.0 where there is nothing to compare.
    """

    logical_bytes: int
    unique_bytes: int
    stored_bytes: int
    live_stored_bytes: int
    inodes: int
    blocks: int
    packs: int
    loose_bytes: int
    dedupe_ratio: float
    compression_ratio: float


class TaskStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of background work, for ``graviton status``. Times in seconds since the epoch, 0: never."""

    name: str
    state: str
    """``waiting``, ``running`` or ``failed`` (it is tried again)."""
    runs: int = 0
    last_start: float = 0.0
    last_end: float = 0.0
    last_result: str = ""
    error: str = ""
    done: int = 0
    total: int = 0
    what: str = ""
