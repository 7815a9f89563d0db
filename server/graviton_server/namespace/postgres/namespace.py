"""One session's view of a volume: the ``Namespace`` port on PostgreSQL. A read is one round trip."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from graviton_server.namespace import blobs, reading, records, regions
from graviton_server.namespace.postgres.database import Connection
from graviton_server.namespace.postgres.dialect import statement
from graviton_server.namespace.postgres.exchange import Query, send
from graviton_server.namespace.postgres.quotas import OF_VOLUME, WALK
from graviton_server.namespace.postgres.sessions import PostgresSession
from graviton_server.namespace.postgres.upkeep import VOLUMES
from graviton_server.namespace.postgres.wire import Ints
from graviton_server.namespace.postgres.work import Reader
from graviton_server.namespace.quotas import quota_of, room_of
from graviton_server.namespace.reading import SqlNamespace
from gravitonfs.core.extents import Extent
from gravitonfs.core.ids import ContentId, Ino
from gravitonfs.errors import Fenced, NotFound, Stale
from gravitonfs.ports.namespace import (
    BlobRef,
    Change,
    ContentInfo,
    ContentKind,
    Entry,
    RegionMap,
    Room,
    VolumeUsage,
)
from gravitonfs.ports.ops import Attr, Batch, Reply

if TYPE_CHECKING:
    from graviton_server.namespace.postgres.store import PostgresStore

T = TypeVar("T")
_new: Final = tuple.__new__

_STEPS: Final = (
    "WITH RECURSIVE w (step, name) AS (SELECT * FROM unnest(%s::bigint[], %s::bytea[])), path (step, ino) AS"
    " (SELECT 0::bigint, %s::bigint UNION ALL SELECT p.step + 1, n.ino FROM path p"
    " JOIN w ON w.step = p.step + 1"
    f" JOIN names n ON n.parent = p.ino AND n.name = w.name) SELECT {reading._ATTRIBUTES} FROM path p"
    " JOIN inodes i ON i.ino = p.ino AND i.volume = %s WHERE p.step > 0 ORDER BY p.step"
)
_EXTENTS: Final = (
    "WITH RECURSIVE chain (id, first, last, below, nth) AS (SELECT c.id, %s::bigint, %s::bigint, c.base, 0"
    " FROM contents c WHERE c.id = %s UNION ALL"
    " SELECT b.id, h.first, least(h.last, d.base_limit - 1), b.base, h.nth + 1 FROM chain h"
    " JOIN contents d ON d.id = h.id JOIN contents b ON b.id = h.below"
    " WHERE h.below <> 0 AND least(h.last, d.base_limit - 1) >= h.first)"
    " SELECT h.nth, r.region, r.seq, r.data FROM chain h JOIN regions r ON r.content = h.id"
    " AND r.region BETWEEN h.first AND h.last ORDER BY h.nth, r.region, r.seq"
)
_XATTRS_OF: Final = (
    "SELECT x.ino, x.name, x.value FROM xattrs x JOIN inodes i ON i.ino = x.ino AND i.volume = %s"
    " WHERE x.ino = ANY(%s) AND substr(x.name, 1, %s::bigint::int) = %s ORDER BY x.ino, x.name"
)
_SMALL_MAPS: Final = reading._SMALL_MAPS.replace("IN ({})", "= ANY(%s)").replace("?", "%s")
_USED: Final = "SELECT 1 FROM contents WHERE id = %s AND refs > 0"
_CONTENT: Final = (
    "SELECT c.id, c.kind, coalesce(i.size, c.length), coalesce(i.version, c.version), c.digest"
    " FROM contents c"
    " LEFT JOIN inodes i ON i.content = c.id AND i.content <> 0 AND c.kind = 0 WHERE c.id = %s"
)
_USAGE: Final = f"SELECT logical_bytes, inodes FROM ({VOLUMES}) v WHERE id = %s"
PAGES: Final = (
    "SELECT set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),"
    " set_config('enable_sort', 'off', true), set_config('plan_cache_mode', 'force_generic_plan', true)"
)
ENTRIES: Final = (
    "SELECT n.name, i.* FROM (SELECT name, ino FROM names WHERE parent = %s AND name > %s"
    " ORDER BY name LIMIT %s) n"
    f" JOIN LATERAL (SELECT c.digest, {reading._ATTRIBUTES} FROM inodes i"
    " LEFT JOIN contents c ON c.id = i.content WHERE i.ino = n.ino AND i.volume = %s OFFSET 0) i ON true"
    " ORDER BY n.name"
)
"""So many steps along the index of names, and a look-up for each (OFFSET 0). ``PAGES`` goes before it, in the
same round trip and so the same transaction: left to choose by what it believes of the size of tables, the
server reads and sorts all that is behind the page as well."""
_OFTEN: Final = (
    (statement(reading._LOOKUP).text, (0, b"", 0)),
    (statement(reading._ATTR).text, (0, 0)),
    (PAGES, ()),
    (ENTRIES, (0, b"", 1, 0)),
)


def warm(connection: Connection) -> None:
    """The first question takes a server's process 20 ms, for which nobody should wait: of a process that is
    new it is the catalog that is read, and what is asked often is prepared."""
    send(connection, [Query(text, params) for text, params in _OFTEN])


class PostgresNamespace(SqlNamespace):
    """Obtained by attaching to a ``PostgresStore``."""

    inline = False
    settles = False

    def __init__(self, store: PostgresStore, session: PostgresSession) -> None:
        self._postgres = store
        self._attached = session
        self._volume = session.volume.id
        self.volume = session.volume.name
        self.session = session.id
        self.root = session.volume.root
        self.format = store.format
        self.read_only = session.read_only

    def apply(self, batches: Sequence[Batch], *, durable: bool) -> list[Reply]:
        session = self._attached
        session.arrive(batches[0].number if batches else 0)
        try:
            with session.lock:
                outcome = self._postgres.applier.apply(session, batches, durable=durable)
                listeners = session.others
                replies = [session.reply(found) for found in outcome.answers]
        finally:
            session.depart()
            self._postgres.incarnations.tell_pending()
        if outcome.told:
            for listener in listeners:
                listener(outcome.told)
        if outcome.refusal is not None:
            raise outcome.refusal
        return replies

    def grant(self, count: int) -> range:
        return self._postgres.grant(count)

    def grant_contents(self, count: int) -> range:
        return self._postgres.grant_contents(count)

    def detach(self) -> None:
        self._postgres.detach(self._attached)

    def trusted_until(self) -> float:
        trust = self._attached.trust
        return 0.0 if trust is None or not self._attached.alive else trust.until()

    # --- reads: those that are several statements elsewhere are one here -----------------------------

    def _seen(self, question: Callable[[], T]) -> T:
        """The answer of a database that has all that this session was answered before: one that was
        restarted may have lost some, and is given it again first."""
        session, incarnations = self._attached, self._postgres.incarnations
        answer = question()
        while session.kept and session.whole_in != incarnations.database and session.alive:
            with suppress(Fenced), session.lock:
                self._postgres.applier.apply(session, (), durable=False)
            answer = question()
        return answer

    def _ask(self, sql: str, parameters: tuple[Any, ...]) -> list[Any]:
        return self._seen(lambda: self._postgres.ask(sql, parameters))

    def _fetch(self, sql: str, parameters: tuple[object, ...]) -> list[tuple[Any, ...]]:
        return self._seen(lambda: self._postgres.ask_shared(sql, parameters))

    def resolve(self, path: Sequence[bytes], start: Ino | None = None) -> list[Attr]:
        if not path:
            return []
        steps = Ints(range(1, len(path) + 1))
        at = self.root if start is None else start
        return [Attr._make(row) for row in self._ask(_STEPS, (steps, list(path), at, self._volume))]

    def entries(self, parent: Ino, after: bytes | None, limit: int) -> list[Entry]:
        asked = (parent, after or b"", limit, self._volume)
        _, rows = self._seen(lambda: self._postgres.ask_all((PAGES, ()), (ENTRIES, asked)))
        if not rows:
            self._must_be_directory(parent)
        return [_new(Entry, (row[0], _new(Attr, row[2:]), row[1])) for row in rows]

    def xattrs(self, ino: Ino) -> list[tuple[bytes, bytes]]:
        return [(name, value) for name, value in self._fetch(reading._XATTRS, (ino,))]

    def xattrs_of(self, inos: Sequence[Ino], prefix: bytes) -> list[tuple[Ino, bytes, bytes]]:
        if not inos:
            return []
        rows = self._ask(_XATTRS_OF, (self._volume, Ints(inos), len(prefix), prefix))
        return [(Ino(ino), name, value) for ino, name, value in rows]

    def content(self, content: ContentId) -> ContentInfo:
        if not content:
            return reading._NO_INFO
        rows = self._ask(_CONTENT, (content,))
        if not rows:
            raise NotFound(f"content {content} does not exist any more")
        number, kind, length, version, digest = rows[0]
        return ContentInfo(ContentId(number), ContentKind(kind), length, version, digest)

    def extents(self, content: ContentId, first: int, last: int) -> list[RegionMap]:
        """The first content of the chain that has rows for a region has all of it."""
        if not content:
            return []
        found: dict[int, tuple[int, list[tuple[int, bytes]]]] = {}
        # Asked behind the rows: what is being freed has lost some, which must not look like holes.
        rows_found, used = self._seen(
            lambda: self._postgres.ask_all((_EXTENTS, (first, last, content)), (_USED, (content,)))
        )
        if not used:
            raise Stale(f"content {content} does not exist any more")
        for nth, region, seq, data in rows_found:
            above, rows = found.setdefault(region, (nth, []))
            if above == nth:
                rows.append((seq, data))
        resolved = ((region, regions.resolve(region, rows)) for region, (_, rows) in sorted(found.items()))
        return [RegionMap(region, tuple(extents)) for region, extents in resolved if extents]

    def extents_of(self, contents: Sequence[ContentId]) -> dict[ContentId, tuple[Extent, ...]]:
        if not contents:
            return {}
        return regions.small_maps(self._ask(_SMALL_MAPS, (Ints(contents), self._volume)))

    def records(self, space: str, prefix: bytes = b"") -> list[tuple[bytes, bytes]]:
        read = Reader(self._postgres).execute
        return self._seen(lambda: records.read(read, self._volume, space, prefix))

    def has_content(self, content: ContentId) -> bool:
        key = (content, self._volume)
        return bool(self._fetch(reading._HAS_CONTENT, (*key, *key))[0][0])

    def blob(self, digest: bytes, length: int) -> BlobRef | None:
        read = Reader(self._postgres).execute
        return self._seen(lambda: blobs.read(read, self._volume, digest, length))

    def blobs(self, after: tuple[bytes, int] | None, limit: int) -> list[BlobRef]:
        read = Reader(self._postgres).execute
        return self._seen(lambda: blobs.page(read, self._volume, after, limit))

    def usage(self) -> VolumeUsage:
        rows: list[Any] = self._ask(_USAGE, (self._volume,))
        return VolumeUsage(*rows[0])

    def room(self, directory: Ino | None) -> Room | None:
        query = OF_VOLUME if directory is None else WALK
        rows: list[Any] = self._ask(query, (self._volume,) if directory is None else (Ints((directory,)),))
        return room_of([quota_of(row[1:]) for row in rows])

    def watch(self, since: int) -> Iterator[Change]:
        return iter(self._postgres.changes.since(since, self._volume, self.session))
