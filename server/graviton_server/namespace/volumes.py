"""Making and removing volumes."""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING, Final

from graviton_server.namespace import contents, orphans, snapshots
from graviton_server.namespace.applying import Moment
from graviton_server.namespace.roster import GONE
from graviton_server.namespace.schema import INODE_COLUMNS
from graviton_server.namespace.sessions import Volume
from gravitonfs.core.ids import ContentId, Ino
from gravitonfs.errors import Busy, Exists, Invalid, NotPermitted
from gravitonfs.ports.store import VolumeRow

if TYPE_CHECKING:
    from graviton_server.namespace.store import NamespaceStore

_NAME: Final = re.compile(r"[a-z0-9_-][a-z0-9._-]{0,62}")
_FIRST: Final = 1
"""The volume ``main`` cannot be removed: whoever names no volume means it."""

_ADD: Final = "INSERT INTO volumes (id, name, root, logical_bytes, inodes, created) VALUES (?, ?, ?, 0, 1, ?)"
_ADD_ROOT: Final = (
    f"INSERT INTO inodes ({INODE_COLUMNS}) VALUES (?, ?, 2, ?, ?, 0, 0, ?, ?, ?, ?, 0, 0, 0, ?, ?, NULL)"
)
_RENAME: Final = "UPDATE volumes SET name = ? WHERE id = ?"
_NO_LINKS: Final = "UPDATE inodes SET nlink = 0 WHERE ino = ?"
_BLOBS: Final = "SELECT content FROM blob_refs WHERE volume = ?"
_DROP: Final = tuple(
    f"DELETE FROM {table} WHERE volume = ?" for table in ("blob_refs", "records", "snapshots", "quotas")
)


def rows(store: NamespaceStore) -> list[VolumeRow]:
    with store.lock:
        store.check_readable()
        return [VolumeRow(v.name, v.root, v.logical_bytes, v.inodes) for v in store.roster.volumes()]


def create(store: NamespaceStore, name: str) -> VolumeRow:
    if not _NAME.fullmatch(name):
        raise Invalid("a volume's name has 1 to 63 of a-z, 0-9, '-', '_' and '.', and no '.' at the start")
    with store.lock:
        store.check_readable()
        if any(volume.name == name for volume in store.roster.volumes()):
            raise Exists(f"there is a volume {name!r} already")
        root = Ino(store.numbers.grant(1)[0])
        volume = Volume(store.roster.next_volume(), name, root, 0, 1)
        store.change(_create, store, volume, store.applier.moment())
        store.roster.enter_volume(volume)
        store.commits.commit()
    return VolumeRow(name, root, 0, 1)


def _create(store: NamespaceStore, volume: Volume, moment: Moment) -> None:
    now = moment.clock
    store.execute(_ADD, (volume.id, volume.name, volume.root, now))
    mode, owner = stat.S_IFDIR | 0o755, (os.getuid(), os.getgid())
    store.execute(_ADD_ROOT, (volume.root, mode, *owner, now, now, now, now, moment.version, volume.id))


def delete(store: NamespaceStore, name: str) -> None:
    with store.lock:
        store.check_readable()
        volume = store.roster.named(name)
        if volume.id == _FIRST:
            raise NotPermitted(f"the volume {name!r} cannot be removed, only emptied")
        if there := store.roster.in_use(volume):
            raise Busy(f"{len(there)} sessions use the volume {name!r}: end them first")
        store.change(_delete, store, volume, store.applier.moment())
        volume.name = f"{GONE}{volume.id}"
        store.commits.commit()


def _delete(store: NamespaceStore, volume: Volume, moment: Moment) -> None:
    """The root loses its place, and what is below is freed as any removed tree is."""
    txn = store.applier.outside_batch(volume, moment)
    txn.snapshot = volume.snapshot = 0
    volume.quotas = {}
    for (content,) in store.execute(_BLOBS, (volume.id,)).fetchall():
        contents.release(txn, ContentId(content))
    for statement in _DROP:
        store.execute(statement, (volume.id,))
    snapshots.drop_all(store.execute, moment)
    store.execute(_NO_LINKS, (volume.root,))
    orphans.doom(txn, volume.root)
    store.execute(_RENAME, (f"{GONE}{volume.id}", volume.id))
