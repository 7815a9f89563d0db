"""What can be counted again without losing anything: links, uses of contents, the totals of volumes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Final

from graviton_server.namespace import mending
from graviton_server.namespace.sessions import Volume
from gravitonfs.core.ids import Ino

if TYPE_CHECKING:
    from graviton_server.namespace.postgres.store import PostgresStore
    from graviton_server.namespace.store import NamespaceStore

_NAMES: Final = "(SELECT count(*) FROM names n WHERE n.ino = inodes.ino)"
_BELOW: Final = (
    "(SELECT count(*) FROM names n JOIN inodes i ON i.ino = n.ino"
    " WHERE n.parent = inodes.ino AND (i.mode & 61440) = 16384)"
)
_USES: Final = (
    "((SELECT count(*) FROM inodes i WHERE i.content = contents.id AND i.content <> 0)"
    " + (SELECT count(*) FROM inodes_history h WHERE h.content = contents.id AND h.content <> 0)"
    " + (SELECT count(*) FROM contents c WHERE c.base = contents.id AND c.base <> 0)"
    " + (SELECT count(*) FROM contents_history d WHERE d.base = contents.id AND d.base <> 0)"
    " + (SELECT count(*) FROM blob_refs b WHERE b.content = contents.id AND b.content <> 0))"
)

_COUNTS: Final[tuple[tuple[str, str], ...]] = (
    (
        "the links of {} files are counted anew",
        (
            f"UPDATE inodes SET nlink = {_NAMES} WHERE (mode & 61440) <> 16384"
            f" AND {_NAMES} > 0 AND nlink <> {_NAMES}"
        ),
    ),
    (
        "the links of {} directories are counted anew",
        (
            f"UPDATE inodes SET nlink = {_BELOW} + 2 WHERE (mode & 61440) = 16384 AND nlink <> 0"
            f" AND nlink <> {_BELOW} + 2"
        ),
    ),
    (
        "the uses of {} contents are counted anew",
        f"UPDATE contents SET refs = {_USES} WHERE refs <> {_USES}",
    ),
)
_TOTALS: Final = (
    "SELECT count(*), coalesce(sum(CASE WHEN (mode & 61440) = 32768 THEN size ELSE 0 END), 0)"
    " FROM inodes WHERE volume = ?"
)


def recount(store: NamespaceStore) -> list[str]:
    """Durable when this returns; a sentence on each kind of thing that was put right."""
    done: dict[str, int] = {}
    with store.lock:
        store.check_readable()
        store.change(_count, store, done)
        told = [sentence.format(count) for sentence, count in done.items() if count]
        told += [
            f"the totals of volume {volume.name} are counted anew"
            for volume in store.volumes()
            if _total(store, volume)
        ]
        store.commit()
    return told


def mend(store: NamespaceStore, kinds: Collection[str], fresh: Sequence[Ino]) -> list[str]:
    """See ``Upkeep.mend``."""
    told: list[str] = []
    with store.lock:
        store.check_readable()
        store.change(_mend, store, kinds, fresh, told)
        return told + recount(store)


def _mend(store: NamespaceStore, kinds: Collection[str], fresh: Sequence[Ino], told: list[str]) -> None:
    told[:] = mending.mend(mending.Mender(store.execute, store.applier.version, iter(fresh)), kinds)


def recount_quotas(store: NamespaceStore | PostgresStore) -> list[str]:
    """After the rest, each by itself while changes go on. Durable."""
    wrong = sum(
        store.quotas.check(volume.name, row.directory, repair=True).repaired
        for volume in store.volume_rows()
        for row in store.quotas.rows(volume.name)
    )
    return [f"what {wrong} quotas have used is counted anew"] if wrong else []


def _count(store: NamespaceStore, done: dict[str, int]) -> None:
    for sentence, sql in _COUNTS:
        done[sentence] = store.execute(sql).rowcount


def _total(store: NamespaceStore, volume: Volume) -> bool:
    inodes, logical = store.execute(_TOTALS, (volume.id,)).fetchone()
    wrong = (inodes, logical) != (volume.inodes, volume.logical_bytes)
    if wrong:
        volume.add(logical - volume.logical_bytes, inodes - volume.inodes)
    return wrong
