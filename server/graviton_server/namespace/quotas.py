"""Quotas: what may lie below a directory, and how the ops of a batch count against it.

An inode counts for its nearest directory with a quota, and for all that are above that one. Which those are
is found by walking up its names, so that nothing has to be written to inodes when a quota comes or goes. All
names of a file lie below the same nearest quota (a link or a move that would make it otherwise is EXDEV), so
it does not matter which name is followed.

The quota of the root is the volume's: its usage is the volume's totals (but for the root itself), inodes
without names and removed trees that are not freed yet included.
"""

from __future__ import annotations

import stat
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from graviton_server.namespace.engine import Execute
from gravitonfs.core.ids import Ino
from gravitonfs.core.units import format_size
from gravitonfs.errors import CrossVolume, QuotaExceeded
from gravitonfs.ports.namespace import Room

if TYPE_CHECKING:
    from graviton_server.namespace.txn import Inode, Txn

UNLIMITED: Final = -1

COLUMNS: Final = "ino, volume, max_bytes, max_inodes, bytes, inodes, counting"
CHAIN: Final = (
    "WITH RECURSIVE up (ino, step) AS (VALUES (?, 0) UNION SELECT n.parent, up.step + 1 FROM up"
    " JOIN names n ON n.ino = up.ino) SELECT q.ino FROM up JOIN quotas q ON q.ino = up.ino ORDER BY up.step"
)
_TREE: Final = (
    "WITH RECURSIVE tree (ino) AS (VALUES (?) UNION SELECT n.ino FROM tree JOIN names n"
    " ON n.parent = tree.ino)"
)
SIZE: Final = (
    f"{_TREE} SELECT count(*), coalesce(sum(CASE WHEN i.mode & 61440 = 32768 THEN i.size ELSE 0 END), 0)"
    " FROM tree t JOIN inodes i ON i.ino = t.ino"
)
CROSSING: Final = (
    f"{_TREE} SELECT n.parent, n.name, n.ino FROM tree t JOIN names n ON n.parent = t.ino JOIN inodes i"
    " ON i.ino = n.ino WHERE i.mode & 61440 <> 16384 AND i.nlink > 1"
    " AND EXISTS (SELECT 1 FROM names o WHERE o.ino = n.ino AND o.parent NOT IN (SELECT ino FROM tree))"
)
"""Names in a tree, of files that have other names outside of it."""
_SAVE: Final = "UPDATE quotas SET bytes = ?, inodes = ? WHERE ino = ?"
_ALL: Final = f"SELECT {COLUMNS} FROM quotas"

Chain = tuple[int, ...]
"""Directories with a quota, the nearest first."""


@dataclass(eq=False, slots=True)
class Quota:
    """``counting``: what was there before is not in the usage yet, and nothing is refused."""

    ino: Ino
    volume: int
    max_bytes: int
    max_inodes: int
    bytes: int
    inodes: int
    counting: bool
    dirty: bool = False

    def admit(self, size: int, inodes: int, root: Ino) -> None:
        """QuotaExceeded where so much more is too much; less is always taken."""
        if self.counting:
            return
        whose = "the volume's quota" if self.ino == root else f"the quota of directory {self.ino}"
        if size > 0 and 0 <= self.max_bytes < self.bytes + size:
            raise QuotaExceeded(f"{whose} of {format_size(self.max_bytes)} is used up: remove something")
        if inodes > 0 and 0 <= self.max_inodes < self.inodes + inodes:
            raise QuotaExceeded(f"{whose} of {self.max_inodes} inodes is used up: remove something")

    def charge(self, size: int, inodes: int) -> None:
        self.bytes += size
        self.inodes += inodes
        self.dirty = True


class Tree(Protocol):
    """How a ledger learns where directories lie. Answers are as the ops before have left the names."""

    def chain(self, txn: Txn, ino: int) -> Chain:
        """Of a directory, itself included, or of a file."""

    def born(self, ino: int, parent: int) -> None:
        """An inode has its only name there now."""

    def hold(self) -> None:
        """Nothing of any tree may change until the end: one is about to be counted."""

    def moved(self) -> None:
        """A tree lies elsewhere: what is remembered of chains may be wrong."""


class Ledger:
    """What a batch adds to quotas. One for each batch on a volume that has any."""

    def __init__(self, root: Ino, quotas: dict[int, Quota], tree: Tree, *, enforce: bool = True) -> None:
        self._root = root
        self._quotas = quotas
        self._tree = tree
        self._enforce = enforce
        self.added: dict[int, tuple[int, int]] = {}
        """Bytes and inodes, but for the root's quota: the transaction counts those."""

    # --- what ops tell -------------------------------------------------------------------------------

    def came(self, txn: Txn, parent: Ino, ino: Ino, size: int = 0, inodes: int = 1) -> None:
        """An inode, with what is below it, gets its first name."""
        self._tree.born(ino, parent)
        self.add(txn, parent, size, inodes)

    def add(self, txn: Txn, directory: Ino, size: int, inodes: int) -> None:
        """So much more, or less, in a directory (or in a file)."""
        if size or inodes:
            self._charge(self._tree.chain(txn, directory), size, inodes)

    def resized(self, txn: Txn, inode: Inode, size: int) -> None:
        if inode.nlink and size != inode.size:
            self.add(txn, inode.ino, size - inode.size, 0)

    def lost(self, txn: Txn, parent: Ino, inode: Inode) -> None:
        """A name there goes; ``inode`` as it was before."""
        if inode.is_directory or inode.nlink == 1:
            self.add(txn, parent, -bytes_of(inode), -1)

    def linked(self, txn: Txn, ino: Ino, parent: Ino) -> None:
        if self._nearest(txn, ino) != self._nearest(txn, parent):
            raise CrossVolume("a file cannot have names under different quotas: copy it")

    def moved(self, txn: Txn, inode: Inode, source: Ino, target: Ino) -> None:
        """Before the names change."""
        before, after = self._tree.chain(txn, source), self._tree.chain(txn, target)
        if before == after:
            return
        if not inode.is_directory:
            if inode.nlink > 1:
                raise CrossVolume("a file with several names cannot move to another quota: copy it")
            size, inodes = bytes_of(inode), 1
            self._tree.born(inode.ino, target)
        else:
            self._tree.hold()
            if txn.execute(CROSSING, (inode.ino,)).fetchone() is not None:
                raise CrossVolume(
                    "files of the directory have names outside of it, so it cannot move to another quota:"
                    " copy it"
                )
            inodes, size = txn.execute(SIZE, (inode.ino,)).fetchone()
            self._tree.moved()
        self._charge(before, -size, -inodes)
        self._charge(after, size, inodes)

    def returning(self) -> None:
        """What is about to come back from the trash is remembered where it was, if at all."""
        self._tree.moved()

    def returned(self, txn: Txn, parent: Ino, inode: Inode) -> None:
        """From the trash, before its name is there; what is below has its names."""
        chain = self._tree.chain(txn, parent)
        if not inode.is_directory:
            self._tree.born(inode.ino, parent)
            self._charge(chain, bytes_of(inode), 1)
            return
        if any(ino != self._root for ino in chain):
            self._tree.hold()
            if txn.execute(CROSSING, (inode.ino,)).fetchone() is not None:
                raise CrossVolume(
                    "files of the directory have names outside of it, so it cannot come back below a quota"
                )
            inodes, size = txn.execute(SIZE, (inode.ino,)).fetchone()
            self._charge(chain, size, inodes)
        self._tree.moved()

    def removed(self, txn: Txn, parent: Ino, top: Ino) -> list[tuple[Ino, bytes, Ino]]:
        """A whole tree goes, and is freed later. Names in it, of files that stay elsewhere, have to be
        removed at once, before ``removed_tree``: once the tree is gone it is not known what they count
        for."""
        if any(ino != self._root for ino in self._tree.chain(txn, parent)):
            self._tree.hold()
            return [(Ino(p), name, Ino(i)) for p, name, i in txn.execute(CROSSING, (top,)).fetchall()]
        return []

    def removed_tree(self, txn: Txn, parent: Ino, top: Ino) -> None:
        chain = self._tree.chain(txn, parent)
        if any(ino != self._root for ino in chain):
            inodes, size = txn.execute(SIZE, (top,)).fetchone()
            self._charge(chain, -size, -inodes)
        self._tree.moved()

    # --- the batch -----------------------------------------------------------------------------------

    def check(self, txn: Txn) -> None:
        """After each op: QuotaExceeded where the batch adds too much."""
        if not self._enforce:
            return
        for ino, (size, inodes) in self.added.items():
            self._quotas[ino].admit(size, inodes, self._root)
        whole = self._quotas.get(self._root)
        if whole is not None:
            whole.admit(txn.bytes, txn.inodes, self._root)

    def settle(self) -> None:
        """The batch is whole."""
        for ino, (size, inodes) in self.added.items():
            self._quotas[ino].charge(size, inodes)

    def _charge(self, chain: Chain, size: int, inodes: int) -> None:
        for ino in chain:
            if ino != self._root:
                before = self.added.get(ino, (0, 0))
                self.added[ino] = (before[0] + size, before[1] + inodes)

    def _nearest(self, txn: Txn, ino: Ino) -> int:
        """A link between what only the volume's quota counts is as without any."""
        chain = self._tree.chain(txn, ino)
        return chain[0] if chain and chain[0] != self._root else 0


def bytes_of(inode: Inode) -> int:
    return inode.size if inode.mode & 0o170000 == stat.S_IFREG else 0


class RememberedChains:
    """Of one volume, while one process owns the store: guarded by its lock."""

    MOST: Final = 20_000

    def __init__(self) -> None:
        self._known: dict[int, Chain] = {}

    def chain(self, txn: Txn, ino: int) -> Chain:
        found = self._known.get(ino)
        if found is None:
            found = chain_of(txn.execute, ino)
            if len(self._known) >= self.MOST:
                self._known.clear()
            self._known[ino] = found
        return found

    def born(self, ino: int, parent: int) -> None:
        self._known.pop(ino, None)
        known = self._known.get(parent)
        if known is not None and len(self._known) < self.MOST:
            self._known[ino] = known

    def hold(self) -> None:
        pass

    def moved(self) -> None:
        self._known.clear()


def chain_of(execute: Execute, ino: int) -> Chain:
    """Each once: of a file with several names each leads to the same."""
    return tuple(dict.fromkeys(row[0] for row in execute(CHAIN, (ino,)).fetchall()))


def room_of(found: Sequence[Quota]) -> Room | None:
    """Of quotas, the nearest first."""
    limited = [quota for quota in found if not quota.counting]
    if not found:
        return None
    sizes = [(quota.max_bytes - quota.bytes, quota.bytes) for quota in limited if quota.max_bytes >= 0]
    counts = [(quota.max_inodes - quota.inodes, quota.inodes) for quota in limited if quota.max_inodes >= 0]
    free, used = min(sizes, default=(None, found[0].bytes))
    others, inodes = min(counts, default=(None, found[0].inodes))
    return Room(
        used, None if free is None else max(free, 0), inodes, None if others is None else max(others, 0)
    )


def load(execute: Execute) -> dict[int, dict[int, Quota]]:
    """By volume."""
    found: dict[int, dict[int, Quota]] = {}
    for row in execute(_ALL).fetchall():
        found.setdefault(row[1], {})[row[0]] = quota_of(row)
    return found


def quota_of(row: tuple[int, ...]) -> Quota:
    ino, volume, max_bytes, max_inodes, size, inodes, counting = row
    return Quota(Ino(ino), volume, max_bytes, max_inodes, size, inodes, bool(counting))


def save(execute: Execute, quotas: dict[int, Quota]) -> None:
    for quota in quotas.values():
        if quota.dirty:
            execute(_SAVE, (quota.bytes, quota.inodes, quota.ino))
