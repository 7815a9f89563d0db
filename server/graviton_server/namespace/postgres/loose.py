"""Loose blocks on PostgreSQL: shared by all daemons, found by their ids.

Guarded state: the sum of their sizes, as this process knows it (exact for its own, told anew each second).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from graviton_server.namespace.postgres.database import Connection
from graviton_server.namespace.postgres.exchange import Row
from graviton_server.namespace.postgres.foreseen import Exchange
from graviton_server.namespace.postgres.packs import must_be_live, rely
from graviton_server.namespace.postgres.wire import Ints
from gravitonfs.core.ids import BlockId, PackNumber
from gravitonfs.ports.blocks import Block
from gravitonfs.ports.ops import LooseBlock

if TYPE_CHECKING:
    from graviton_server.namespace.postgres.store import PostgresStore

_ADD: Final = (
    "INSERT INTO loose (id, codec, plain_length, payload) SELECT id, codec, plain_length, payload"
    " FROM unnest(%s::bytea[], %s::bigint[], %s::bigint[], %s::bytea[]) WITH ORDINALITY"
    " AS b (id, codec, plain_length, payload, n) ORDER BY n ON CONFLICT (id) DO NOTHING"
    " RETURNING length(payload)"
)
_GET: Final = "SELECT id, codec, plain_length, payload FROM loose WHERE id = ANY(%s)"
_PAGE: Final = (
    "SELECT id, codec, plain_length, payload FROM (SELECT *, sum(length(payload)) OVER (ORDER BY n) AS upto"
    " FROM (SELECT * FROM loose ORDER BY n LIMIT 65536) l) p"
    " WHERE upto <= %s OR upto = length(payload) ORDER BY n"
)
_DROP: Final = "DELETE FROM loose WHERE id = ANY(%s)"
_IDS: Final = "SELECT id FROM loose ORDER BY n"
BYTES: Final = "SELECT coalesce(sum(length(payload)), 0) FROM loose"


class PostgresLoose:
    """Implements ``LooseBlocks``."""

    def __init__(self, store: PostgresStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._bytes = 0
        self.generation = 0
        """Rises with each change made here, so that a sum taken before it does not replace it."""

    def insert(self, exchange: Exchange, blocks: Sequence[LooseBlock]) -> None:
        """Inside a batch: those that are not here yet."""

        def added(rows: list[Row]) -> None:
            exchange.loose_bytes += sum(row[0] for row in rows)

        once = {block.id: block for block in blocks}.values()
        columns = (
            [block.id for block in once], Ints(block.codec for block in once),
            Ints(block.plain_length for block in once), [block.payload for block in once],
        )  # fmt: skip
        exchange.queue(_ADD, columns, added, inserts=True)

    def inserted(self, exchange: Exchange) -> None:
        """Its batches are applied."""
        if exchange.loose_bytes:
            with self._lock:
                self.generation += 1
                self._bytes += exchange.loose_bytes

    def refresh(self, size: int, generation: int | None = None) -> None:
        with self._lock:
            if generation is None:
                self.generation += 1
            elif generation != self.generation:
                return
            self._bytes = size

    def loose_get(self, ids: Sequence[BlockId]) -> dict[BlockId, Block]:
        wanted = sorted(set(ids))
        if not wanted:
            return {}
        return {BlockId(row[0]): Block._make(row) for row in self._store.ask(_GET, (wanted,))}

    def loose_page(self, limit_bytes: int) -> list[Block]:
        return [Block._make(row) for row in self._store.ask(_PAGE, (limit_bytes,))]

    def loose_drop(self, ids: Sequence[BlockId], packs: Sequence[PackNumber] = ()) -> None:
        wanted = sorted(set(ids))

        def drop(connection: Connection) -> int:
            with self._store.work.scope(connection) as exchange:
                if packs:
                    clock = must_be_live(exchange, packs)
                    rely(exchange, packs, clock)
                exchange.queue(_DROP, (wanted,))
                return int(exchange.query((BYTES, ()))[0][0])

        self.refresh(self._store.database.again(drop))

    def loose_bytes(self) -> int:
        with self._lock:
            return self._bytes

    def ids(self) -> list[BlockId]:
        return [BlockId(row[0]) for row in self._store.ask(_IDS, ())]
