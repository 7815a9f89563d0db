"""Fewer statements for what waits: a server spends more on a statement than on a row.

Insertions that may go before everything else become one statement, whatever their tables; those into one
table with many rows at once. An inode that is made and then changed is written once, as it is in the end.
Only between statements of which it is known which one row they touch: any other stays where it is, and
nothing passes it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

from graviton_server.namespace import contents, names, regions, trash, txn
from graviton_server.namespace.postgres.dialect import statement
from graviton_server.namespace.postgres.exchange import Params, Query, Row, Write
from graviton_server.namespace.postgres.touching import CHANGES, Tag
from graviton_server.namespace.postgres.wire import Ints
from graviton_server.namespace.schema import INODE_COLUMNS

INSERTIONS: Final = frozenset(
    (names._ADD_NAME, names._ADD_INODE, contents._INSERT, regions._INSERT, trash._ADD)
)
_WHOLE_INODE: Final = (
    f"INSERT INTO inodes ({INODE_COLUMNS}) VALUES ({', '.join('%s' for _ in INODE_COLUMNS.split(','))})"
)
_FREEZE_MANY: Final = (
    "UPDATE contents AS c SET kind = u.kind, length = u.length, version = u.version, digest = u.digest,"
    " changed = u.changed FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bytea[], %s::bigint[],"
    " %s::bigint[]) AS u (kind, length, version, digest, changed, id) WHERE c.id = u.id"
)
_FLAGS: Final = txn.ROW.split(", ").index("flags")
_VALUES: Final = re.compile(r"(INSERT INTO [a-z_]+ \([^()]*\)) VALUES \(([^()]*)\)")

InodeRow = Callable[[int], Row | None]
"""An inode as it is after all that waits, if that is known."""


def pack(queue: Sequence[Write | Query], inode_row: InodeRow) -> list[Write | Query]:
    stretches = [_Stretch()]
    for item in queue:
        if not stretches[-1].takes(item):
            stretches.append(_Stretch(item))
    whole = sum(bool(stretch.rows) for stretch in stretches) == 1 and not any(
        stretch.first is not None and isinstance(stretch.first, Write) for stretch in stretches
    )
    return [item for stretch in stretches for item in stretch.statements(inode_row if whole else None)]


class _Stretch:
    """``first``, which nothing passes, and what came after it."""

    def __init__(self, first: Write | Query | None = None) -> None:
        self.first = first
        self.rows: dict[str, list[Params]] = {}
        self._columns: dict[str, Query] = {}
        self._rest: list[tuple[Tag, Write]] = []
        self._changed: set[Tag] = set()
        if isinstance(first, Write) and first.sql in INSERTIONS:
            self.first = None
            self.takes(first)

    def takes(self, item: Write | Query) -> bool:
        if isinstance(item, Query):
            if not item.inserts:
                return False
            before = self._columns.get(item.text)
            self._columns[item.text] = item if before is None else _together(before, item)
            return True
        changes = CHANGES.get(item.sql)
        if changes is None:
            return False
        tag = changes(item.params)
        if item.sql not in INSERTIONS:
            self._changed.add(tag)
            self._rest.append((tag, item))
        elif tag in self._changed:
            return False
        else:
            self.rows.setdefault(item.sql, []).append(item.params)
        return True

    def statements(self, inode_row: InodeRow | None) -> list[Write | Query]:
        done: list[Write | Query] = [] if self.first is None else [self.first]
        if not (self.rows or self._columns or self._rest):
            return done
        rest = self._rest if inode_row is None else self._fold(inode_row)
        inserted = self._inserted()
        if inserted is not None:
            done.append(inserted)
        done += _frozen([write for _, write in rest])
        return done

    def _fold(self, inode_row: InodeRow) -> list[tuple[Tag, Write]]:
        """Changes of inodes that are made here go into their rows; the others are left."""
        made = {params[0]: params for params in self.rows.get(names._ADD_INODE, ())}
        folded: dict[int, Params] = {}
        for (table, key), _ in self._rest:
            if table == "inodes" and key in made and key not in folded:
                row = inode_row(key)
                if row is not None:
                    folded[key] = (*row[: _FLAGS + 1], *made[key][-3:])
        if not folded:
            return self._rest
        plain = [params for ino, params in made.items() if ino not in folded]
        del self.rows[names._ADD_INODE]
        if plain:
            self.rows[names._ADD_INODE] = plain
        self.rows[_WHOLE_INODE] = list(folded.values())
        return [(tag, write) for tag, write in self._rest if tag[0] != "inodes" or tag[1] not in folded]

    def _inserted(self) -> Query | None:
        single = all(len(rows) == 1 for rows in self.rows.values())
        parts: list[tuple[str, Sequence[Any]]] = []
        for sql, rows in self.rows.items():
            text = _WHOLE_INODE if sql == _WHOLE_INODE else statement(sql).text
            parts.append((text, rows[0]) if single else _many(text, rows))
        last = next((query for query in self._columns.values() if query.then is not None), None)
        parts += [(query.text, query.params) for query in self._columns.values() if query is not last]
        if last is not None:
            parts.append((last.text, last.params))  # the last one's rows are the answer
        if not parts:
            return None
        text = _joined(tuple(text for text, _ in parts))
        return Query(text, [param for _, given in parts for param in given], last and last.then)


def _frozen(writes: list[Write]) -> list[Write | Query]:
    """Contents that are frozen or sealed, each once, together; the rest behind them."""
    frozen = [write.params for write in writes if write.sql == contents._FREEZE]
    if len(frozen) < 2:
        return list(writes)
    others = {CHANGES[write.sql](write.params) for write in writes if write.sql != contents._FREEZE}
    ids = {params[-1] for params in frozen}
    if len(ids) < len(frozen) or any(("contents", content) in others for content in ids):
        return list(writes)
    kinds, lengths, versions, digests, changed, found = zip(*frozen, strict=True)
    columns = (Ints(kinds), Ints(lengths), Ints(versions), list(digests), Ints(changed), Ints(found))
    rest = [write for write in writes if write.sql != contents._FREEZE]
    return [Query(_FREEZE_MANY, columns), *rest]


def _together(one: Query, other: Query) -> Query:
    """The rows of both."""
    return one._replace(params=list(map(_concatenated, one.params, other.params)))


def _concatenated(one: Any, other: Any) -> Any:
    return Ints((*one, *other)) if isinstance(one, Ints) else [*one, *other]


@lru_cache(256)
def _joined(texts: tuple[str, ...]) -> str:
    if len(texts) == 1:
        return texts[0]
    before = ", ".join(f"w{number} AS ({text})" for number, text in enumerate(texts[:-1]))
    return f"WITH {before} {texts[-1]}"


def _many(text: str, rows: list[Params]) -> tuple[str, list[Any]]:
    """The statement for many rows, and its columns."""
    columns = list(zip(*rows, strict=True))
    integers = tuple(all(isinstance(value, int) for value in column) for column in columns)
    return _with_arrays(text, integers), [
        Ints(column) if whole else list(column) for column, whole in zip(columns, integers, strict=True)
    ]


@lru_cache(64)
def _with_arrays(text: str, integers: tuple[bool, ...]) -> str:
    found = _VALUES.fullmatch(text)
    assert found is not None, text
    values: list[str] = []
    for value in found[2].split(", "):
        values.append(f"u.c{sum(v.startswith('u.') for v in values)}" if value == "%s" else value)
    columns = ", ".join(f"c{number}" for number in range(len(integers)))
    arrays = ", ".join("%s::bigint[]" if whole else "%s::bytea[]" for whole in integers)
    return f"{found[1]} SELECT {', '.join(values)} FROM unnest({arrays}) AS u ({columns})"
