"""The namespace of one store on PostgreSQL, as one of the processes that share it has it open.

No lock of its own: sessions have one each, the database has the others.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final

import psycopg

from graviton_server.namespace.browsing import BrowsableNamespace
from graviton_server.namespace.historic import HistoricNamespace
from graviton_server.namespace.postgres import exchange as exchanging
from graviton_server.namespace.postgres import loading, schema, snapshots, volumes
from graviton_server.namespace.postgres.applying import Applier
from graviton_server.namespace.postgres.changes import Changes
from graviton_server.namespace.postgres.database import Connection, Database, Settings, refusal, translate
from graviton_server.namespace.postgres.dialect import statement
from graviton_server.namespace.postgres.held_inodes import HeldInodes
from graviton_server.namespace.postgres.housekeeping import PostgresHousekeeping
from graviton_server.namespace.postgres.incarnations import Incarnations
from graviton_server.namespace.postgres.leases import Leases
from graviton_server.namespace.postgres.loose import PostgresLoose
from graviton_server.namespace.postgres.namespace import PostgresNamespace, warm
from graviton_server.namespace.postgres.packs import PostgresPacks
from graviton_server.namespace.postgres.quota_rows import PostgresQuotas
from graviton_server.namespace.postgres.replaying import Replayer
from graviton_server.namespace.postgres.replicas import PostgresReplicas
from graviton_server.namespace.postgres.roster import Roster
from graviton_server.namespace.postgres.sessions import PostgresSession
from graviton_server.namespace.postgres.transaction import CONTENT_STEP, INO_STEP, Numbers
from graviton_server.namespace.postgres.upkeep import PostgresUpkeep
from graviton_server.namespace.postgres.work import Reader, Work, ask
from graviton_server.namespace.sessions import Session, Volume
from graviton_server.namespace.snapshots import Wanted
from gravitonfs.core.format import VolumeFormat
from gravitonfs.core.ids import Ino
from gravitonfs.core.processes import myself
from gravitonfs.errors import Exists, GravitonError, Unavailable
from gravitonfs.ports.namespace import Claims, Listener, Namespace, Recall
from gravitonfs.ports.store import SessionRow, SessionState, SnapshotRow, VolumeLease, VolumeRow

_IDENTITY: Final = "SELECT key, data FROM meta WHERE data IS NOT NULL"


def _nothing() -> None:
    pass


class PostgresStore:
    """``packs``, ``loose`` and ``upkeep`` are the other ports on the same database."""

    def __init__(self, database: Database, identity: dict[str, bytes]) -> None:
        self.database = database
        self.store_uuid = identity["store_uuid"]
        self.secret = identity["secret"]
        self.format = VolumeFormat.from_json(identity["format"]).at_most(database.settings.max_file_size)
        self.process = secrets.randbits(62)
        self.trash_age_ns = database.settings.trash_age_ns
        self.closed = False
        self.barrier: Callable[[], None] = _nothing
        self.numbers = Numbers(database, "next_ino", INO_STEP)
        self.content_ids = Numbers(database, "next_content", CONTENT_STEP)
        self.leases = Leases(self)
        self.incarnations = Incarnations(self)
        self.roster = Roster(self)
        self.held_inodes = HeldInodes(self)
        self.loose = PostgresLoose(self)
        self.packs = PostgresPacks(self)
        self.replicas = PostgresReplicas(self)
        self.changes = Changes(self)
        self.replayer = Replayer(self)
        self.work = Work(self)
        self.applier = Applier(self)
        self.upkeep = PostgresUpkeep(self)
        self.quotas = PostgresQuotas(self)
        self.housekeeping = PostgresHousekeeping(self)

    @classmethod
    def create(cls, settings: Settings, format: VolumeFormat, store_uuid: bytes) -> None:
        """A new store in an empty database; Exists where there is one already. Durable."""
        _administer(settings, lambda connection: schema.create(connection, format, store_uuid))

    @classmethod
    def found(
        cls, settings: Settings, format: VolumeFormat, store_uuid: bytes, make: Callable[[bytes], None]
    ) -> None:
        """As ``create`` in an empty database; then ``make`` the store's target, with the UUID that the
        database has, until that has succeeded once. Processes that start together take turns."""
        with suppress(Exists):
            cls.create(settings, format, store_uuid)
        _administer(settings, lambda connection: schema.make_once(connection, make))

    @classmethod
    def open(cls, settings: Settings, *, unfinished: bool = False) -> PostgresStore:
        """Brought to the newest schema where it is older; NotFound where there is none. ``unfinished``: even
        where a load is."""
        _administer(settings, schema.prepare if unfinished else loading.prepare)
        database = Database(settings)
        database.open()
        try:
            identity = dict(database.again(lambda connection: ask(connection, _IDENTITY, ())))
            store = cls(database, identity)
            database.again(warm)
            database.greet = store.greet
            store.changes.start()
            store.roster.start()
        except BaseException:
            database.close()
            raise
        return store

    @classmethod
    def load(cls, settings: Settings, pieces: Iterable[bytes], *, unfinished: bool = False) -> None:
        """A new store from what ``upkeep.dump`` wrote, whole or not at all; Exists. Durable. ``unfinished``:
        nobody opens it before ``loaded``."""
        _administer(settings, lambda connection: loading.load(connection, pieces, unfinished=unfinished))

    @classmethod
    def check_empty(cls, settings: Settings) -> None:
        """Raises Exists where there is a store."""
        _administer(settings, schema.refuse_store)

    def loaded(self) -> None:
        """The end of a load: others may open the store. Durable."""
        self.database.again(
            lambda connection: exchanging.transact(connection, (loading.FINISHED, ()), durable=True)
        )

    @property
    def incarnation(self) -> int:
        """Another one after each start here, and each start, fail-over and load of the database."""
        return self.incarnations.current

    @incarnation.setter
    def incarnation(self, value: int) -> None:
        raise AttributeError("the incarnation is the database's to tell")

    def greet(self, connection: Connection) -> None:
        """A new connection, before anybody waits for an answer through it."""
        self.incarnations.greet(connection)
        warm(connection)

    # --- questions -----------------------------------------------------------------------------------

    def ask(self, text: str, params: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """A question in PostgreSQL's words, in one round trip; waits for a server that is away."""
        if self.closed:
            raise Unavailable("the namespace is closed")
        return self.database.again(lambda connection: ask(connection, text, params))

    def ask_all(self, *todo: tuple[str, tuple[Any, ...]]) -> list[list[tuple[Any, ...]]]:
        """Several questions in one round trip, each at its own moment, in this order."""
        queries = [exchanging.Query(text, params) for text, params in todo]
        return self.database.again(lambda connection: exchanging.send(connection, queries))

    def ask_shared(self, sql: str, params: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """The same, in the words of the shared code."""
        return self.ask(statement(sql).text, params)

    # --- as a store ----------------------------------------------------------------------------------

    def check(self) -> None:
        """Whether the database answers, soon: Unavailable."""
        if self.closed:
            raise Unavailable("the namespace is closed")
        self.database.check()

    def set_barrier(self, barrier: Callable[[], None]) -> None:
        """Called before each transaction of batches: what they rely on becomes durable there."""
        self.barrier = barrier

    def set_presync(self, presync: Callable[[], None]) -> None:
        """There is no group of batches that it could be called ahead of."""

    def commit(self) -> None:
        """Everything applied is durable when this returns."""
        self.roster.flush()
        self.database.again(
            lambda connection: exchanging.send(
                connection, [exchanging.Query(text, params) for text, params in exchanging.FLUSH]
            )
        )

    def grant(self, count: int) -> range:
        first = self.numbers.grant(count)
        return range(first, first + count)

    def grant_contents(self, count: int) -> range:
        first = self.content_ids.grant(count)
        return range(first, first + count)

    def attach(
        self,
        volume: str = "main",
        *,
        label: str,
        claims: Claims | None = None,
        listener: Listener | None = None,
        read_only: bool = False,
        resume: int | None = None,
        at: int | None = None,
        leased: bytes | None = None,
        recall: Recall | None = None,
        background: bool = False,
        patience: float | None = None,
        process: str = "",
        journals: bool = False,
    ) -> Namespace:
        """A new session, or with ``resume`` one that another process has left, with its numbering and
        its answers. ``at``: as the volume was at a retained version. NotFound, Fenced.

        ``leased``: a secret of a session that belongs to another process, and lives, its claims too,
        when this one ends; to resume it takes the same secret. Its ``recall`` only passes the question on;
        it has let go when ``let_go`` says so, and renews by ``lease`` alone. ``journals``: it may be away for
        days.

        Whoever has the volume to itself is recalled, and waited for: Throttled after ``patience``, where
        one is given. Not by sessions of the ``background``, which change nothing that users see.
        ``process``: of a ``leased`` session (``core.processes``); nobody waits for one that is gone."""
        found = self.roster.named(volume)
        session = PostgresSession(
            resume or 0,
            found,
            label,
            read_only,
            claims,
            listener,
            leased,
            recall,
            background,
            process if leased is not None else myself(),
            journals,
        )
        recalled = self.roster.admit(session) if resume is None else self.roster.readmit(session)
        try:
            if recalled:
                self.changes.ring()
                self.leases.wait(session, patience)
            self.leases.keep(session)
        except BaseException:
            if resume is None:
                self.detach(session)
            else:  # it was there before, and is there for the next try
                with suppress(GravitonError):
                    self.roster.set_aside(session)
            raise
        if at is None:
            return BrowsableNamespace(PostgresNamespace(self, session), Reader(self), session)
        return HistoricNamespace(Reader(self), session, at)

    def lease(self, number: int, at_most: float) -> VolumeLease:
        """See ``SessionStore``."""
        return self.leases.ask(number, at_most)

    def let_go(self, number: int, lease: int) -> None:
        """Nothing answered under this lease of the session is used any more. Idempotent."""
        self.leases.let_go(number, lease)

    def lease_of(self, number: int) -> int:
        """The number of the lease that a session has, recalled or not; 0: none."""
        return self.leases.number_of(number)

    def detach(self, session: Session) -> None:
        if not self.closed:
            assert isinstance(session, PostgresSession)
            self.roster.dismiss(session)

    def state_of(self, number: int) -> SessionState:
        """Of an attached session. Fenced where there is none."""
        session = self.roster.attached(number)
        return SessionState(session.last, session.durable)

    def set_aside(self, number: int) -> None:
        """See ``SessionStore``."""
        self.roster.set_aside(self.roster.attached(number))

    def retake(self, number: int) -> bool:
        """See ``SessionStore``."""
        return self.roster.retake(number)

    def sessions(self) -> list[SessionRow]:
        """All that are alive, whichever process has them."""
        return self.roster.rows()

    def evict(self, number: int) -> None:
        """End a session, whoever has it: what it sends from now on is refused. NotFound. Durable."""
        self.roster.evict(number)
        self.commit()

    def release(self, number: int, inos: Sequence[Ino]) -> None:
        """A session that was asked (``Claims``) has these inodes not, or no longer, open."""
        self.held_inodes.release(self.roster.attached(number), inos)

    def claims_of(self, number: int) -> list[Ino]:
        """The inodes without names that are kept for a session."""
        return self.held_inodes.claimed_by(number)

    def create_volume(self, name: str) -> VolumeRow:
        """An empty volume. Exists, Invalid. Durable."""
        return volumes.create(self, name)

    def delete_volume(self, name: str) -> None:
        """A volume with all that is in it: gone at once, freed in the background. Busy while sessions are
        attached. Durable."""
        volumes.delete(self, name)

    def volume_rows(self) -> list[VolumeRow]:
        return volumes.rows(self)

    def volumes(self) -> list[Volume]:
        return self.roster.volumes()

    def create_snapshot(self, volume: str, name: str, *, scheduled: bool = False) -> SnapshotRow:
        return snapshots.create(self, volume, Wanted(name, scheduled))

    def delete_snapshot(self, volume: str, name: str) -> None:
        snapshots.drop(self, volume, name)

    def snapshot_rows(self, volume: str) -> list[SnapshotRow]:
        return snapshots.rows(self, volume)

    def counters(self) -> dict[str, int]:
        """Since the store was opened."""
        applier = self.applier
        return {
            "batches": applier.batches,
            "ops": applier.ops,
            "failures": applier.failures,
            "repeats": applier.repeats,
            "restarts": applier.reruns,
            "round_trips": applier.trips,
            "replayed": self.replayer.replayed,
            "fenced": self.replayer.fenced,
            "sessions": len(self.roster),
            "loose_bytes": self.loose.loose_bytes(),
        }

    def hurry(self, seconds: float) -> None:
        """From now on nobody waits longer than that for a server that is away."""
        self.database.hurry(seconds)

    def close(self) -> None:
        """Everything applied is durable; what only sessions of this process kept goes. Idempotent."""
        if self.closed:
            return
        self.roster.stop()
        self.changes.stop()
        try:
            self.commit()
            self.roster.leave()
        finally:
            self.closed = True
            self.database.close()


def _administer(settings: Settings, call: Callable[[schema.Connection], object]) -> None:
    """On a connection of its own, which is closed."""
    try:
        with psycopg.connect(
            settings.listen or settings.conninfo, autocommit=True, connect_timeout=10
        ) as connection:
            connection.prepare_threshold = None
            call(connection)
    except psycopg.Error as error:
        raise refusal(error) or translate(error) from error


__all__ = ["PostgresStore", "Settings"]
