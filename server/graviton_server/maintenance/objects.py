"""Pack rows against the objects on the target."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from uuid import UUID

from graviton_server.maintenance.mark import pack_rows
from graviton_server.maintenance.reports import Finding
from graviton_server.maintenance.stores import Stores
from graviton_server.maintenance.usage import PACKS
from graviton_server.packs.footers import read_trailer
from graviton_server.packs.format import HEADER_SIZE, Records, pack_key
from gravitonfs.core.ids import PackNumber
from gravitonfs.errors import Damaged, NotFound
from gravitonfs.ports.packs import PackRegistry, PackRow, PackState
from gravitonfs.ports.target import Target

log = logging.getLogger(__name__)


def check_objects(stores: Stores) -> tuple[list[Finding], list[str]]:
    """Rows without an object or with one of another length; and the keys of packs without a row.

    Objects are listed before the rows: a pack that begins meanwhile has its row first.
    """
    lengths = {item.key: item.length for item in stores.target.list(PACKS)}
    findings: list[Finding] = []
    if stores.copies is not None:
        findings += [
            Finding(kind="copy-damaged", what=f"the copy of a pack on the target {name}: {why}", pack=pack)
            for pack, name, why in stores.copies.check_presence(PACKS)
        ]
    for row in pack_rows(stores):
        key = pack_key(row.uuid)
        length = lengths.pop(key, None)
        if row.state is not PackState.LIVE or not row.length:
            continue
        if length is None and object_length(stores, row):
            continue
        if length is None:
            findings.append(
                Finding(kind="pack-missing", what="a pack is not on its target", pack=row.number, key=key)
            )
        elif length != row.length:
            what = f"a pack has {length} bytes where {row.length} were stored"
            findings.append(Finding(kind="pack-damaged", what=what, pack=row.number, key=key))
    return findings, [key for key in sorted(lengths) if _length(stores, key)]


def unclaimed_finding(key: str) -> Finding:
    what = "an object that no row names: fsck --repair gives it one, and gc then frees what is not needed"
    return Finding(kind="unclaimed", what=what, key=key)


def object_length(stores: Stores, row: PackRow) -> int:
    """What a pack takes on its target now; 0 when it is not there."""
    return _length(stores, pack_key(row.uuid))


def _length(stores: Stores, key: str) -> int:
    try:
        return stores.target.head(key).length
    except NotFound:
        return 0


def adopt(registry: PackRegistry, target: Target, owner: str, keys: Sequence[str]) -> int:
    """Give packs a row; how many. One without a footer is finished by the next start."""
    count = 0
    for key in keys:
        try:
            uuid = UUID(key.rsplit("/", 1)[-1].removesuffix(".pack")).bytes
        except ValueError:
            continue
        if pack_key(uuid) == key:
            number = registry.begin(uuid, owner, PackState.LIVE)
            _seal(registry, target, number, key)
            count += 1
    return count


def _seal(registry: PackRegistry, target: Target, number: PackNumber, key: str) -> None:
    try:
        length, trailer = read_trailer(target, key)
        if trailer is None:
            if length <= HEADER_SIZE:  # begun and never used: there is nothing that a start could finish
                registry.abandon(number)
            return
        footer = bytes(memoryview(target.get(key, trailer.footer_offset, trailer.footer_length)))
        registry.sealed(number, length, len(Records.decode(footer)), footer)
    except (NotFound, Damaged) as error:
        log.warning("the pack %s has a row again, but: %s", key, error)
