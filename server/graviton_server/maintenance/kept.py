"""Dumps that are kept with a volume: which there are, and what goes when one of them goes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from graviton_server.maintenance import backup
from graviton_server.maintenance.backups import OWNER as ON_TARGETS
from graviton_server.maintenance.mark import Mark, pack_rows
from graviton_server.maintenance.marking import mark_live
from graviton_server.maintenance.objects import object_length
from graviton_server.maintenance.reports import DroppedDump, KeptDump
from graviton_server.maintenance.stores import Stores
from graviton_server.maintenance.work import Work
from gravitonfs.core.durable import sync_directory
from gravitonfs.core.ids import BlockId, PackNumber
from gravitonfs.errors import Exists, Invalid, NotFound

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def path_of(directory: Path, name: str) -> Path:
    """Raises Invalid for what is no name of a dump."""
    if not _NAME.fullmatch(name):
        raise Invalid(
            f"{name!r} is no name for a dump: it has up to 100 letters, digits, '.', '_' and '-', and begins"
            " with a letter or a digit"
        )
    return directory / (name + backup.SUFFIX)


def free_path(directory: Path, name: str) -> Path:
    """As ``path_of``. Raises Exists: a dump is never written over."""
    path = path_of(directory, name)
    if path.exists():
        raise Exists(f"there is a dump {name!r} already: choose another name")
    return path


def kept_dumps(stores: Stores, directory: Path) -> list[KeptDump]:
    """Of this engine, with their files, then those of others. The oldest comes first."""
    held = {(dump.owner, dump.name): dump for dump in stores.housekeeping.all_dumps()}
    retired = stores.housekeeping.retired_dumps(stores.owner)
    found = []
    for path in backup.retained(directory):
        if path.stem in retired:
            continue
        row = held.pop((stores.owner, path.stem), None)
        stat = path.stat()
        found.append(
            KeptDump(
                name=path.stem,
                owner=stores.owner,
                here=True,
                made=stat.st_mtime,
                bytes=stat.st_size,
                packs=None if row is None else row.packs,
                pack_bytes=None if row is None else row.bytes,
            )
        )
    found.sort(key=lambda dump: dump.made or 0.0)
    return found + [
        KeptDump(name=row.name, owner=row.owner, here=False, packs=row.packs, pack_bytes=row.bytes)
        for row in held.values()
        if row.owner != ON_TARGETS
    ]


def tidy(stores: Stores, directory: Path) -> None:
    """What others have retired loses its file; what has lost its file holds nothing any more."""
    house, owner = stores.housekeeping, stores.owner
    retired = house.retired_dumps(owner)
    for name in retired:
        path_of(directory, name).unlink(missing_ok=True)
    if retired and directory.exists():
        sync_directory(directory)
    for name in house.kept_dumps(owner):
        if not path_of(directory, name).exists():
            house.drop_dump(owner, name)
    for name in retired:
        house.drop_dump(owner, name)


def drop(stores: Stores, directory: Path, dump: KeptDump) -> None:
    """It holds nothing any more. The file of another engine is for that one to remove."""
    if dump.owner != stores.owner:
        stores.housekeeping.retire_dump(dump.owner, dump.name)
        return
    path_of(directory, dump.name).unlink(missing_ok=True)
    stores.housekeeping.drop_dump(dump.owner, dump.name)


def the_dump(dumps: Sequence[KeptDump], name: str, owner: str | None) -> KeptDump:
    """Raises NotFound, and Invalid where several engines have one of this name."""
    found = [dump for dump in dumps if dump.name == name and owner in (None, dump.owner)]
    if not found:
        raise NotFound(f"there is no kept dump {name!r}")
    if len(found) > 1:
        owners = ", ".join(dump.owner for dump in found)
        raise Invalid(f"several engines keep a dump {name!r}: say whose with --owner ({owners})")
    return found[0]


def what_it_frees(stores: Stores, directory: Path, dump: KeptDump, work: Work) -> DroppedDump:
    """Packs that nothing else needs go whole; of the others what only this dump names."""
    others = [path for path in backup.retained(directory) if not (dump.here and path.stem == dump.name)]
    after = mark_live(stores, work, _roots(others))
    if dump.packs is None:
        packs, size = _freed_by_roots(
            stores, mark_live(stores, work, _roots(backup.retained(directory))), after
        )
    else:
        held_by_others = stores.housekeeping.held_packs(but=(dump.owner, dump.name))
        packs, size = _freed_by_holds(stores, stores.housekeeping.held_packs() - held_by_others, after)
    return DroppedDump(name=dump.name, owner=dump.owner, packs=packs, freed_bytes=size)


def _roots(paths: Iterable[Path]) -> Iterator[Iterator[BlockId]]:
    for path in paths:
        yield backup.dumped_blocks(backup.file_pieces(path))


def _freed_by_roots(stores: Stores, before: Mark, after: Mark) -> tuple[int, int]:
    """What the dump names was marked; now it is not."""
    packs = size = 0
    for row in pack_rows(stores):
        one, other = before.packs.get(row.number), after.packs.get(row.number)
        if one is None or other is None or one.unreadable or other.unreadable:
            continue
        if one.live and not other.live:
            packs += 1
            size += object_length(stores, row)
        else:
            size += max(0, one.live_stored - other.live_stored)
    for number, live in before.open_live.items():  # sealed once there is enough to give back
        left = after.open_live.get(number, 0)
        packs += not left
        size += max(0, live - left)
    return packs, size


def _freed_by_holds(stores: Stores, held: frozenset[PackNumber], after: Mark) -> tuple[int, int]:
    """Packs were held whole, whatever is in them."""
    packs = size = 0
    for number in held:
        mark = after.packs.get(number)
        if mark is None or mark.unreadable:
            continue
        packs += not mark.live
        size += max(0, object_length(stores, mark.row) - mark.live_stored)
    return packs, size
