"""Bringing a file or a tree back from a snapshot: new inodes that name the same blocks. No bytes are copied.

It is built under a name of its own beside its target, and takes the target's name in one step at the end.
"""

from __future__ import annotations

import logging
import re
import secrets
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NamedTuple

from msgspec import structs

from graviton_server.control.answers import Restored
from graviton_server.control.making import dressing
from graviton_server.control.paging import PAGE, every_entry
from graviton_server.control.paths import locate, show, split
from gravitonfs.content.volume import Volume
from gravitonfs.core import codec
from gravitonfs.core.extents import REGION, Extent
from gravitonfs.core.ids import NO_PACK, BlockId, Ino, PackNumber
from gravitonfs.core.snapshots import DIRECTORY, is_past
from gravitonfs.errors import Exists, GravitonError, Invalid, MissingBlocks, NotFound, ReadOnly
from gravitonfs.ports.blocks import Block
from gravitonfs.ports.namespace import ContentKind, Entry
from gravitonfs.ports.ops import (
    Attr,
    Create,
    Link,
    Op,
    RemoveTree,
    Rename,
    RenameMode,
    SetAttr,
    Truncate,
    Write,
)

log = logging.getLogger("graviton.snapshots")

_DRAFT: Final = b".restoring-"
_IS_DRAFT: Final = re.compile(re.escape(_DRAFT) + rb"[0-9a-f]{16}")
_TOUCHED: Final = 60.0
_ABANDONED_NS: Final = 3600 * 10**9
_EXTENTS: Final = 2048
"""Named by one batch."""
_RETRIES: Final = 8
_REGIONS: Final = 4
_LEVEL: Final = 1

Check = Callable[[int], None]
"""Called with how many files have been brought back; raises to stop."""


class _Level(NamedTuple):
    """A directory that is being filled."""

    attr: Attr
    ino: Ino
    entries: Iterator[Entry]


@dataclass
class _Counts:
    files: int = 0
    directories: int = 0
    size: int = 0


def restore(
    volume: Volume, snapshot: str, path: bytes, target: bytes | None, *, force: bool, check: Check
) -> Restored:
    """NotFound, Exists (without ``force``), Invalid, ReadOnly."""
    names = volume.namespace
    inside = split(path)
    top = names.resolve([DIRECTORY, snapshot.encode()])
    if len(top) < 2:
        raise NotFound(f"there is no snapshot {snapshot!r}: 'graviton snapshot list' tells which there are")
    steps = [top[-1], *names.resolve(inside, top[-1].ino)]
    if len(steps) <= len(inside):
        raise NotFound(f"{show(path)} is not in the snapshot {snapshot!r}")
    spot = locate(names, path if target is None else target)
    if not spot.name:
        raise Invalid(
            "the root cannot be replaced: say with --to where its tree is to go, or name what is in it"
        )
    if is_past(spot.parent):
        raise ReadOnly("a snapshot cannot be changed: say with --to where it is to go")
    if spot.attr is not None and not force:
        raise Exists(
            f"{show(path if target is None else target)} exists: say with --to where else it is to go, or"
            " replace it with --force"
        )
    clear_abandoned(volume, spot.parent)
    draft = _DRAFT + secrets.token_hex(8).encode()
    counts = _Counts()
    try:
        _Restorer(volume, counts, check).build(steps[-1], spot.parent, draft)
        mode = RenameMode.NOREPLACE if spot.attr is None else RenameMode.EXCHANGE
        volume.submit(Rename(spot.parent, draft, spot.parent, spot.name, mode))
        if spot.attr is not None:
            volume.submit(RemoveTree(spot.parent, draft))
    except BaseException:
        with suppress(GravitonError):
            volume.submit(RemoveTree(spot.parent, draft))
        raise
    volume.commit()
    return Restored(counts.files, counts.directories, counts.size)


def clear_abandoned(volume: Volume, parent: Ino) -> int:
    """Drafts whose process died are removed by the next one that restores into the directory; how many.
    Whoever is at work on one touches it every minute."""
    before = time.time_ns() - _ABANDONED_NS
    entries = volume.namespace.entries(parent, _DRAFT, PAGE)
    found = [e for e in entries if _IS_DRAFT.fullmatch(e.name) and e.attr.ctime_ns < before]
    for entry in found:
        log.warning("the rest of a restore that was interrupted is removed: %s", show(entry.name))
        with suppress(NotFound):  # another one was faster
            volume.submit(RemoveTree(parent, entry.name))
    return len(found)


class _Restorer:
    def __init__(self, volume: Volume, counts: _Counts, check: Check) -> None:
        self._volume = volume
        self._names = volume.namespace
        self._counts = counts
        self._check = check
        self._top: Ino | None = None
        self._touched = time.monotonic()
        self._linked: dict[Ino, Ino] = {}
        """Files with several names, which are one file again."""

    def build(self, source: Attr, parent: Ino, name: bytes) -> None:
        """Depth first: no more is kept than one page of names for each level."""
        levels: list[_Level] = []
        ino = self._top = self._make(source, parent, name)
        if not stat.S_ISDIR(source.mode):
            return
        levels.append(_Level(source, ino, every_entry(self._names, source.ino)))
        while levels:
            level = levels[-1]
            entry = next(level.entries, None)
            if entry is None:
                # Filling it has changed its times, and its mode might have forbidden it.
                self._dress(level.attr, level.ino)
                levels.pop()
                continue
            made = self._make(entry.attr, level.ino, entry.name)
            if stat.S_ISDIR(entry.attr.mode):
                levels.append(_Level(entry.attr, made, every_entry(self._names, entry.attr.ino)))

    def _make(self, source: Attr, parent: Ino, name: bytes) -> Ino:
        self._check(self._counts.files)
        self._touch()
        kind = stat.S_IFMT(source.mode)
        if kind == stat.S_IFDIR:
            self._counts.directories += 1
        else:
            known = self._linked.get(source.ino)
            if known is not None:
                self._volume.submit(Link(known, parent, name))
                return known
            self._counts.files += 1
        target = self._names.readlink(source.ino) if kind == stat.S_IFLNK else b""
        ino = self._volume.new_ino()
        mode = kind | 0o700 if kind == stat.S_IFDIR else source.mode
        create = Create(parent, name, ino, mode, source.uid, source.gid, source.rdev, target)
        if kind != stat.S_IFREG or not source.content:
            self._volume.submit(create)
        else:
            self._fill(create, source)
            self._counts.size += source.size
        if kind != stat.S_IFDIR:
            self._dress(source, ino)
            if source.nlink > 1:
                self._linked[source.ino] = ino
        return ino

    def _touch(self) -> None:
        """It is not abandoned."""
        now = time.monotonic()
        if self._top is not None and now - self._touched > _TOUCHED:
            self._touched = now
            self._volume.submit(SetAttr(self._top, mtime_ns=time.time_ns()))

    def _dress(self, source: Attr, ino: Ino) -> None:
        xattrs = self._names.xattrs(source.ino)
        self._volume.submit(
            *dressing(ino, source.mode, source.uid, source.gid, source.atime_ns, source.mtime_ns, xattrs)
        )

    # --- contents ------------------------------------------------------------------------------------

    def _fill(self, create: Create, source: Attr) -> None:
        """Small files in one batch with their creation; the last batch says what the whole is."""
        info = self._names.content(source.content)
        digest = info.digest if info.kind is ContentKind.SEALED else None
        before: tuple[Op, ...] = (create,)
        version = 0
        pages = self._extents(source)
        page = next(pages, None)
        while page is not None:
            following = next(pages, None)
            end, seal = (source.size, digest) if following is None else (page[-1].end, None)
            self._touch()
            version = self._submit(page, before, Write(create.ino, (), end, version, seal)).version
            before, page = (), following
        if before:  # nothing but a hole
            self._volume.submit(create, Truncate(create.ino, source.size))

    def _extents(self, source: Attr) -> Iterator[tuple[Extent, ...]]:
        last = max(0, source.size - 1) // REGION
        waiting: list[Extent] = []
        for first in range(0, last + 1, _REGIONS):
            for region in self._names.extents(source.content, first, min(first + _REGIONS - 1, last)):
                waiting += region.extents
            while len(waiting) >= _EXTENTS:
                yield tuple(waiting[:_EXTENTS])
                del waiting[:_EXTENTS]
        if waiting:
            yield tuple(waiting)

    def _submit(self, extents: Sequence[Extent], before: tuple[Op, ...], write: Write) -> Attr:
        """Relies on the packs that have the blocks now; asked again where some went away meanwhile."""
        store = self._volume.store
        left = _RETRIES
        while True:
            where = self._where({extent.block: extent.hint for extent in extents})
            named = tuple(extent._replace(hint=where[extent.block]) for extent in extents)
            packs = tuple({pack for pack in where.values() if pack != NO_PACK})
            try:
                result = self._volume.session.submit(
                    (*before, structs.replace(write, extents=named)), packs=packs
                )[-1]
            except MissingBlocks as refusal:
                left -= 1
                if not left:
                    raise
                store.forget_packs([PackNumber(pack) for pack in refusal.packs])
                continue
            assert isinstance(result, Attr)
            return result

    def _where(self, hints: dict[BlockId, PackNumber]) -> dict[BlockId, PackNumber]:
        """The pack of each. What waits loose in the database is in none: it is stored as any block is."""
        store = self._volume.store
        found = dict(zip(hints, store.missing(list(hints)), strict=True))
        loose = [block for block, pack in found.items() if pack == NO_PACK]
        if loose:
            plain = store.get([(block, hints[block]) for block in loose])
            blocks = [Block(block, *_encoded(bytes(data))) for block, data in zip(loose, plain, strict=True)]
            found |= dict(zip(loose, store.put(blocks), strict=True))
        return found


def _encoded(data: bytes) -> tuple[int, int, bytes]:
    kind, payload = codec.encode(data, _LEVEL)
    return kind, len(data), bytes(payload)
