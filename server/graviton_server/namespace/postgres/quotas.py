"""Quotas on PostgreSQL, where several processes write at once.

A batch's transaction reads the usages without a lock and refuses what they show to be too much. Its very
last statements before COMMIT add to the rows of the quotas, in their order, if there is still room: else a
division by zero ends the transaction, and the batch is made again on fresh reads. So a quota's row is locked
from the last statements to the commit, on the server alone, as a busy directory's is.

Which quotas an inode counts for is found by walking up. So that no tree moves meanwhile, every batch on a
volume with quotas holds the table ``quota_gate`` in a mode that does not keep out others of the kind, and
what moves a tree, or counts one, holds it alone. LOCK TABLE takes no view of the database: it comes first.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from graviton_server.namespace import quotas
from graviton_server.namespace.postgres.exchange import Params, Row
from graviton_server.namespace.postgres.foreseen import Exchange, NeedRenameLock
from graviton_server.namespace.postgres.wire import Ints
from graviton_server.namespace.quotas import Chain, Ledger, Quota, quota_of
from graviton_server.namespace.txn import Txn
from gravitonfs.core.ids import Ino
from gravitonfs.ports import ops

TABLES: Final = """
CREATE TABLE quotas (
    ino bigint PRIMARY KEY, volume bigint NOT NULL, max_bytes bigint NOT NULL, max_inodes bigint NOT NULL,
    bytes bigint NOT NULL, inodes bigint NOT NULL, counting bigint NOT NULL) WITH (fillfactor = 50);
CREATE INDEX quotas_volume ON quotas (volume);
CREATE TABLE quota_gate ();
"""
SHARE: Final = ("LOCK TABLE quota_gate IN ROW SHARE MODE", ())
ALONE: Final = ("LOCK TABLE quota_gate IN EXCLUSIVE MODE", ())
ANY: Final = "EXISTS (SELECT 1 FROM quotas q WHERE q.volume = s.volume)"

_COLUMNS: Final = ", ".join(f"q.{column}" for column in quotas.COLUMNS.split(", "))
WALK: Final = (
    "WITH RECURSIVE up (start, ino, step) AS (SELECT s, s, 0 FROM unnest(%s::bigint[]) AS s UNION"
    " SELECT up.start, n.parent, up.step + 1 FROM up CROSS JOIN LATERAL"
    " (SELECT parent FROM names WHERE ino = up.ino OFFSET 0) n)"
    f" SELECT up.start, {_COLUMNS} FROM up CROSS JOIN LATERAL"
    " (SELECT * FROM quotas WHERE ino = up.ino OFFSET 0) q ORDER BY up.start, up.step"
)
"""A look-up for each step (OFFSET 0): left to choose, the server may read the whole table of names."""
OF_VOLUME: Final = f"SELECT 0, {_COLUMNS} FROM quotas q WHERE q.volume = %s"
_CHARGE: Final = (
    "WITH t AS (UPDATE quotas SET bytes = bytes + %s, inodes = inodes + %s WHERE ino = %s AND (counting <> 0"
    " OR ((%s <= 0 OR max_bytes < 0 OR bytes + %s <= max_bytes)"
    " AND (%s <= 0 OR max_inodes < 0 OR inodes + %s <= max_inodes))) RETURNING 1) SELECT 1 / count(*) FROM t"
)
_CHARGE_ANYWAY: Final = "UPDATE quotas SET bytes = bytes + %s, inodes = inodes + %s WHERE ino = %s"


class Counted:
    """The quotas of one call's batches; a ``Tree`` to their ledgers. ``enforce`` off: they were applied
    before."""

    def __init__(self, exchange: Exchange, root: Ino, batches: Iterable[ops.Batch], *, enforce: bool) -> None:
        self._exchange = exchange
        self._root = root
        self._enforce = enforce
        self._quotas: dict[int, Quota] = {}
        self._chains: dict[int, Chain] = {}
        self._starts = {root, *_starts(batches)}
        self._charged: dict[int, tuple[int, int]] = {}

    # --- what is fetched beforehand ------------------------------------------------------------------

    def query(self) -> tuple[str, Params]:
        return WALK, (Ints(sorted(self._starts)),)

    def learn(self, rows: list[Row]) -> None:
        self._chains = dict.fromkeys(self._starts, ())
        for start, *row in rows:
            self._quotas.setdefault(row[0], quota_of(tuple(row)))
            if row[0] not in self._chains[start]:
                self._chains[start] = (*self._chains[start], row[0])

    # --- batches -------------------------------------------------------------------------------------

    def batch(self) -> Ledger:
        return Ledger(self._root, self._quotas, self, enforce=self._enforce)

    def applied(self, ledger: Ledger, size: int, inodes: int) -> None:
        """The batch is whole, and has added so much to the volume."""
        ledger.settle()
        added = dict(ledger.added)
        if self._root in self._quotas:
            self._quotas[self._root].charge(size, inodes)
            added[self._root] = (size, inodes)
        for ino, (more, others) in added.items():
            before = self._charged.get(ino, (0, 0))
            self._charged[ino] = (before[0] + more, before[1] + others)

    def undone(self) -> None:
        """The batch is not, and has moved nothing."""
        self._chains.clear()

    def charges(self) -> list[tuple[str, Params]]:
        """The last statements of the transaction."""
        todo: list[tuple[str, Params]] = []
        for ino, (size, inodes) in sorted(self._charged.items()):
            if self._enforce and (size > 0 or inodes > 0):
                todo.append((_CHARGE, (size, inodes, ino, size, size, inodes, inodes)))
            elif size or inodes:
                todo.append((_CHARGE_ANYWAY, (size, inodes, ino)))
        return todo

    # --- the tree ------------------------------------------------------------------------------------

    def chain(self, txn: Txn, ino: int) -> Chain:
        found = self._chains.get(ino)
        if found is None:
            rows = self._exchange.query((WALK, (Ints((ino,)),)))
            for _, *row in rows:
                self._quotas.setdefault(row[0], quota_of(tuple(row)))
            found = self._chains[ino] = tuple(dict.fromkeys(row[1] for row in rows))
        return found

    def born(self, ino: int, parent: int) -> None:
        self._chains.pop(ino, None)
        if parent in self._chains:
            self._chains[ino] = self._chains[parent]

    def hold(self) -> None:
        if not self._exchange.renames_locked:
            raise NeedRenameLock

    def moved(self) -> None:
        self._chains.clear()


def _starts(batches: Iterable[ops.Batch]) -> Iterable[int]:
    for batch in batches:
        for op in batch.ops:
            if isinstance(op, ops.Write | ops.Append | ops.Truncate):
                yield op.ino
            elif isinstance(op, ops.Rename):
                yield op.parent
                yield op.new_parent
            elif isinstance(
                op, ops.Create | ops.Link | ops.Unlink | ops.Rmdir | ops.Publish | ops.Clone | ops.RemoveTree
            ):
                yield op.parent
            if isinstance(op, ops.Link):
                yield op.ino
