"""What a call's batches are going to read, fetched with the transaction's first round trip.

Each hot op names its reads here; the answers are kept under the very statements that the op will
execute. Rows that the op changes by what it read are locked, names first, each kind in its order. An op
that is not named here, or reads something else, costs further round trips.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from graviton_server.namespace import attributes, contents, inheritance, names, regions, trash, txn
from graviton_server.namespace.postgres.exchange import Params, Row
from graviton_server.namespace.postgres.foreseen import Exchange, check_named
from graviton_server.namespace.postgres.overlay import DIRECTORY
from graviton_server.namespace.postgres.wire import Ints
from graviton_server.namespace.txn import ACL_DEFAULT
from gravitonfs.core import acl
from gravitonfs.core.extents import REGION
from gravitonfs.ports import ops

MOST_REGIONS: Final = 256

_ROW: Final = ", ".join(f"i.{column.strip()}" for column in txn.ROW.split(","))
_CONTENT_ROW: Final = ", ".join(f"c.{column.strip()}" for column in contents.ROW.split(","))
_WANTED: Final = "unnest(%s::bigint[], %s::bytea[]) AS w (parent, name)"
_OF_NAMES: Final = f"{_WANTED} JOIN names n ON n.parent = w.parent AND n.name = w.name"

_LOCK_NAMES: Final = (
    f"SELECT n.parent, n.name, n.ino FROM {_OF_NAMES} ORDER BY n.parent, n.name FOR UPDATE OF n"
)
_NAMED: Final = (
    f"SELECT n.parent, n.name, {_ROW} FROM {_OF_NAMES} JOIN inodes i ON i.ino = n.ino"
    " ORDER BY i.ino FOR UPDATE OF i"
)
_OCCUPIED: Final = (
    "SELECT n.ino, EXISTS (SELECT 1 FROM names c WHERE c.parent = n.ino),"
    f" EXISTS (SELECT 1 FROM trash t WHERE t.parent = n.ino) FROM {_OF_NAMES}"
)
_PEEK: Final = f"SELECT n.parent, n.name FROM {_OF_NAMES}"
_INODES: Final = f"SELECT {_ROW} FROM inodes i WHERE i.ino = ANY(%s) ORDER BY i.ino FOR UPDATE"
_DIRECTORIES: Final = (
    f"SELECT {_ROW}, CASE WHEN i.flags & {ACL_DEFAULT} <> 0 THEN"
    " (SELECT x.value FROM xattrs x WHERE x.ino = i.ino AND x.name = %s) END FROM inodes i"
    " WHERE i.ino = ANY(%s)"
)
_CONTENTS: Final = (
    f"SELECT {_CONTENT_ROW} FROM inodes i JOIN contents c ON c.id = i.content WHERE i.ino = ANY(%s)"
)
_TOPS: Final = (
    "SELECT i.content, g.region, (SELECT max(r.seq) FROM regions r WHERE r.content = i.content"
    " AND r.region = g.region) FROM unnest(%s::bigint[], %s::bool[], %s::bigint[], %s::bigint[])"
    " AS w (ino, appends, first, last) JOIN inodes i ON i.ino = w.ino AND i.content <> 0"
    f" CROSS JOIN generate_series((CASE WHEN w.appends THEN i.size ELSE 0 END + w.first) / {REGION},"
    f" (CASE WHEN w.appends THEN i.size ELSE 0 END + w.last) / {REGION}) AS g (region)"
)
_XATTRS: Final = (
    "SELECT w.ino, w.name, x.value FROM unnest(%s::bigint[], %s::bytea[]) AS w (ino, name)"
    " LEFT JOIN xattrs x ON x.ino = w.ino AND x.name = w.name"
)


class Foresight:
    """Gathers, asks, and hands the answers to the exchange."""

    def __init__(self, batches: Iterable[ops.Batch]) -> None:
        self._locked: set[tuple[int, bytes]] = set()
        self._peeked: set[tuple[int, bytes]] = set()
        self._emptied: set[tuple[int, bytes]] = set()
        self._inodes: set[int] = set()
        self._directories: set[int] = set()
        self._written: set[tuple[int, bool, int, int]] = set()
        self._filled: set[int] = set()
        self._xattrs: set[tuple[int, bytes]] = set()
        self._unforeseen = False
        made: set[int] = set()
        for batch in batches:
            for op in batch.ops:
                foresee = _OPS.get(type(op))
                if foresee is None:
                    self._unforeseen = True
                else:
                    foresee(self, op)
                if isinstance(op, ops.Create):
                    made.add(op.ino)
        self._inodes -= made  # nor do they have anything in them yet
        self._filled -= made
        self._written = {written for written in self._written if written[0] not in made}
        self._peeked -= self._locked

    # --- what each op reads --------------------------------------------------------------------------

    def create(self, op: ops.Create) -> None:
        if op.parent:
            self._peeked.add((op.parent, op.name))
            self._directories.add(op.parent)

    def link(self, op: ops.Link) -> None:
        self._peeked.add((op.parent, op.name))
        self._directories.add(op.parent)
        self._inodes.add(op.ino)

    def unlink(self, op: ops.Unlink) -> None:
        self._locked.add((op.parent, op.name))
        self._directories.add(op.parent)

    def rmdir(self, op: ops.Rmdir | ops.RemoveTree) -> None:
        self._locked.add((op.parent, op.name))
        self._emptied.add((op.parent, op.name))
        self._directories.add(op.parent)

    def rename(self, op: ops.Rename) -> None:
        self._locked |= {(op.parent, op.name), (op.new_parent, op.new_name)}
        self._emptied.add((op.new_parent, op.new_name))
        self._directories |= {op.parent, op.new_parent}

    def publish(self, op: ops.Publish) -> None:
        self._locked.add((op.parent, op.name))
        self._directories.add(op.parent)
        self._inodes.add(op.staged)

    def clone(self, op: ops.Clone) -> None:
        self._locked.add((op.parent, op.name))
        self._directories.add(op.parent)
        self._inodes.add(op.source)
        self._filled.add(op.source)

    def attributes(self, op: ops.SetAttr) -> None:
        self._inodes.add(op.ino)
        if op.mode is not None:
            self._xattrs.add((op.ino, acl.ACCESS))

    def xattr(self, op: ops.SetXattr | ops.RemoveXattr) -> None:
        self._inodes.add(op.ino)
        if isinstance(op, ops.SetXattr) and op.flags:
            self._xattrs.add((op.ino, op.name))

    def truncate(self, op: ops.Truncate) -> None:
        self._inodes.add(op.ino)
        self._filled.add(op.ino)

    def write(self, op: ops.Write) -> None:
        self._inodes.add(op.ino)
        self._filled.add(op.ino)
        for extent in op.extents:
            for region in range(extent.offset // REGION, (extent.end - 1) // REGION + 1):
                self._written.add((op.ino, False, region * REGION, region * REGION))

    def append(self, op: ops.Append) -> None:
        self._inodes.add(op.ino)
        self._filled.add(op.ino)
        if op.length > 0:
            self._written.add((op.ino, True, 0, op.length - 1))

    def blob(self, op: ops.AddBlobRef) -> None:
        self._inodes.add(op.ino)
        self._filled.add(op.ino)

    def retain(self, op: ops.Retain) -> None:
        self._inodes.add(op.ino)

    def disclaim(self, op: ops.Disclaim) -> None:
        self._inodes |= set(op.inos)

    # --- files that are new --------------------------------------------------------------------------

    def only_new(self) -> set[int] | None:
        """The directories, where nothing is read but these and that names in them are free."""
        others = (self._locked, self._emptied, self._inodes, self._filled, self._written, self._xattrs)
        return None if self._unforeseen or not self._peeked or any(others) else self._directories

    def learn_new(self, exchange: Exchange, directories: list[Row]) -> None:
        """As if it had been told so."""
        for parent, name in self._peeked:
            exchange.know_name(parent, name, present=False)
        for row in directories:
            exchange.know(DIRECTORY, (row[0],), [row], ("directory", row[0]))

    # --- asking --------------------------------------------------------------------------------------

    def queries(self) -> list[tuple[str, Params]]:
        """What to ask, in the order of locks: names, then inodes, then what they keep unchanged."""
        todo: list[tuple[str, Params]] = []
        if self._locked:
            locked = _columns(self._locked)
            todo += [(_LOCK_NAMES, locked), (_NAMED, locked)]
        if self._inodes:
            todo.append((_INODES, (Ints(sorted(self._inodes)),)))
        if self._emptied:
            todo.append((_OCCUPIED, _columns(self._emptied)))
        if self._peeked:
            todo.append((_PEEK, _columns(self._peeked)))
        if self._directories:
            todo.append((_DIRECTORIES, (acl.DEFAULT, Ints(sorted(self._directories)))))
        if self._filled:
            todo.append((_CONTENTS, (Ints(sorted(self._filled)),)))
        if self._written and len(self._written) <= MOST_REGIONS:
            written = sorted(self._written)
            todo.append(
                (
                    _TOPS,
                    (
                        Ints(ino for ino, _, _, _ in written), [appends for _, appends, _, _ in written],
                        Ints(first for _, _, first, _ in written), Ints(last for _, _, _, last in written),
                    ),
                )
            )  # fmt: skip
        if self._xattrs:
            todo.append((_XATTRS, _columns(self._xattrs)))
        return todo

    def learn(self, exchange: Exchange, answers: list[list[Row]]) -> list[Row]:
        """The answers to ``queries``, in their order; the directories among them. Raises Rerun where they
        contradict each other."""
        rest = iter(answers)
        directories: list[Row] = []
        if self._locked:
            self._learn_names(exchange, next(rest), next(rest))
        if self._inodes:
            found = {row[0]: row for row in next(rest)}
            for ino in self._inodes:
                row = found.get(ino)
                exchange.know(txn._GET, (ino,), [] if row is None else [row], ("inodes", ino))
        if self._emptied:
            for ino, occupied, lost in next(rest):
                exchange.know(names._ANY_NAME, (ino,), [(1,)] if occupied else [])
                exchange.know(trash.ANY_BELOW, (ino,), [(1,)] if lost else [])
        if self._peeked:
            present = {(row[0], row[1]) for row in next(rest)}
            for parent, name in self._peeked:
                exchange.know_name(parent, name, (parent, name) in present)
        if self._directories:
            directories = self._learn_directories(exchange, next(rest))
        if self._filled:
            for row in next(rest):
                exchange.know(contents._GET, (row[0],), [row], ("contents", row[0]))
        if self._written and len(self._written) <= MOST_REGIONS:
            for content, region, top in next(rest):
                key = (content, region)
                exchange.know(regions._TOP, key, [(top,)], ("regions", key))
        if self._xattrs:
            for ino, name, value in next(rest):
                exchange.know(attributes._GET, (ino, name), [] if value is None else [(value,)])
        return directories

    def _learn_names(self, exchange: Exchange, locked: list[Row], named: list[Row]) -> None:
        inos = {(row[0], row[1]): row[2] for row in locked}
        rows = {(row[0], row[1]): row[2:] for row in named}
        for key in self._locked:
            row = rows.get(key)
            check_named(inos.get(key), [] if row is None else [row])
            exchange.know_name(*key, row is not None)
            if row is None:
                exchange.know(names._NAMED, key, [], ("names", key))
            else:
                exchange.know(names._NAMED, key, [row], ("names", key), ("inodes", row[0]))
                exchange.know(txn._GET, (row[0],), [row], ("inodes", row[0]))

    def _learn_directories(self, exchange: Exchange, answer: list[Row]) -> list[Row]:
        found = {row[0]: row for row in answer}
        for ino in self._directories:
            row = found.get(ino)
            exchange.know(DIRECTORY, (ino,), [] if row is None else [row[:-1]], ("directory", ino))
            if row is not None and row[-1] is not None:
                exchange.know(inheritance._GET, (ino, acl.DEFAULT), [(row[-1],)])
        return [row[:-1] for row in answer]


def _columns(pairs: Iterable[tuple[int, bytes]]) -> tuple[Ints, list[bytes]]:
    ordered = sorted(pairs)
    return Ints(number for number, _ in ordered), [name for _, name in ordered]


_OPS: Final[dict[type, Any]] = {
    ops.Create: Foresight.create,
    ops.Link: Foresight.link,
    ops.Unlink: Foresight.unlink,
    ops.RemoveTree: Foresight.rmdir,
    ops.Rmdir: Foresight.rmdir,
    ops.Rename: Foresight.rename,
    ops.Publish: Foresight.publish,
    ops.Clone: Foresight.clone,
    ops.SetAttr: Foresight.attributes,
    ops.SetXattr: Foresight.xattr,
    ops.RemoveXattr: Foresight.xattr,
    ops.Truncate: Foresight.truncate,
    ops.Write: Foresight.write,
    ops.Append: Foresight.append,
    ops.Disclaim: Foresight.disclaim,
    ops.Retain: Foresight.retain,
    ops.AddBlobRef: Foresight.blob,
}
