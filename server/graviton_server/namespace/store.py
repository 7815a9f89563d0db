"""The namespace of one store: its database, its sessions, its group commit.

One lock guards the writing connection, the open group and all counters in memory.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from graviton_server.namespace import dumping, recovery, schema, snapshots, volumes
from graviton_server.namespace.applying import Applier
from graviton_server.namespace.browsing import BrowsableNamespace
from graviton_server.namespace.commits import Commits
from graviton_server.namespace.committer import Committer
from graviton_server.namespace.engine import DatabaseError, Execute, SqliteEngine, translate
from graviton_server.namespace.group import Group
from graviton_server.namespace.historic import HistoricNamespace
from graviton_server.namespace.loose import SqlLoose
from graviton_server.namespace.numbers import InodeNumbers
from graviton_server.namespace.packs import SqlPacks
from graviton_server.namespace.quota_rows import SqlQuotas
from graviton_server.namespace.reading import SqlNamespace
from graviton_server.namespace.replicas import SqlReplicas
from graviton_server.namespace.roster import Roster
from graviton_server.namespace.sessions import Session, Volume
from graviton_server.namespace.upkeep import SqlUpkeep
from graviton_server.namespace.volume_leases import VolumeLeases
from gravitonfs.core.format import VolumeFormat
from gravitonfs.core.ids import Ino
from gravitonfs.errors import Fenced, NotFound, Unavailable
from gravitonfs.ports.namespace import Change, Claims, Listener, Namespace, Recall
from gravitonfs.ports.store import (
    LEASE_SECONDS,
    SessionRow,
    SessionState,
    SnapshotRow,
    VolumeLease,
    VolumeRow,
)

GROUP_ENTRIES: Final = 20_000
GROUP_BYTES: Final = 64 << 20
"""An open group of this size is committed before its time."""

_META: Final = "SELECT value FROM meta WHERE key = ?"
_SET_META: Final = "UPDATE meta SET value = ? WHERE key = ?"
_ADD_SECRET: Final = "INSERT OR IGNORE INTO meta (key, value) VALUES ('secret', ?)"
_SESSIONS_VERSION: Final = "SELECT coalesce(max(version), 0) FROM sessions"


class NamespaceStore:
    """See the module. ``packs``, ``loose`` and ``upkeep`` are the other ports on the same database."""

    housekeeping = None

    def __init__(
        self,
        engine: SqliteEngine,
        barrier: Callable[[], None] | None,
        group_seconds: float,
        lease_seconds: float,
        max_file_size: int | None = None,
        trash_age_ns: int | None = None,
    ) -> None:
        self.trash_age_ns = trash_age_ns
        self.lock = threading.RLock()
        self.engine = engine
        self.execute: Execute = engine.execute
        self.path = engine.path
        self.store_uuid: bytes = self._meta("store_uuid")
        self.format = VolumeFormat.from_json(self._meta("format"))
        self.incarnation: int = self._meta("incarnation") + 1
        self._clock = 0
        self.closed = False
        self.applier = Applier(self)
        self.roster = Roster(self)
        self.leases = VolumeLeases(self, lease_seconds)
        self.numbers = InodeNumbers(self, self._meta("next_ino"))
        self.packs = SqlPacks(self)
        self.replicas = SqlReplicas(self)
        self.loose = SqlLoose(self)
        self.upkeep = SqlUpkeep(self)
        self.quotas = SqlQuotas(self)
        self.group = Group(engine, self._load, self.applier.replay)
        self.commits = Commits(self)
        if barrier is not None:
            self.commits.barrier = barrier
        self.applier.version = max(self._meta("version"), self.execute(_SESSIONS_VERSION).fetchone()[0])
        self.applier.txn.content = self._meta("next_content")
        self.applier.txn.ino_limit = self.numbers.next
        self._load()
        self.recovered = recovery.recover(self)
        # Only now: what was acknowledged under a larger limit is applied again whatever its size.
        self.format = self.applier.txn.format = self.format.at_most(max_file_size)
        self._start()
        self.secret: bytes = self._meta("secret")
        self._committer = Committer(self, group_seconds)

    @classmethod
    def create(cls, path: Path, format: VolumeFormat, store_uuid: bytes) -> None:
        """A new database; fails where something is already. Durable, its name included."""
        schema.create(path.absolute(), format, store_uuid)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        barrier: Callable[[], None] | None = None,
        group_seconds: float = 1.0,
        lease_seconds: float = LEASE_SECONDS,
        max_file_size: int | None = None,
        trash_age_ns: int | None = None,
    ) -> NamespaceStore:
        """Sessions of a process that died are over: what they alone kept goes. ``max_file_size``: where
        that is less than the volume's format allows. ``trash_age_ns``: what is removed stays
        for a while if it is so old; None: it does not."""
        engine = schema.open_file(path.absolute())
        try:
            return cls(engine, barrier, group_seconds, lease_seconds, max_file_size, trash_age_ns)
        except DatabaseError as error:
            engine.close()
            raise translate(error) from error
        except BaseException:
            engine.close()
            raise

    @classmethod
    def load(cls, path: Path, pieces: Iterable[bytes]) -> None:
        """A new database from what ``upkeep.dump`` wrote; fails where something is already. Durable."""
        dumping.load(path, pieces)

    def _meta(self, key: str) -> Any:
        row = self.execute(_META, (key,)).fetchone()
        if row is None:
            raise NotFound(f"the namespace database lacks {key}: restore it from a dump")
        return row[0]

    def _load(self) -> None:
        """What memory keeps of the database: at the start, and before a failed group is applied again."""
        self.roster.load()
        self.packs.load()
        self.loose.load()
        self.applier.txn.content_limit = self._meta("next_content")
        self.numbers.rolled_back()

    def _start(self) -> None:
        """A new incarnation."""
        self.engine.begin()
        try:
            epoch = recovery.renew(self.execute)
            self.execute(_SET_META, (self.incarnation, "incarnation"))
            self.execute(_ADD_SECRET, (secrets.token_bytes(32),))
            self.roster.bury()
            self.leases.inherit()
            self.roster.save(self.applier.version)
            self.execute(_SET_META, (self.applier.version, "version"))
            self.engine.commit()
        except BaseException:
            self.engine.rollback()
            raise
        self.commits.open_log(epoch)

    # --- the group -----------------------------------------------------------------------------------

    def check(self) -> None:
        """Whether the database answers: Unavailable."""
        with self.reading() as execute:
            execute("SELECT 1").fetchone()

    def set_barrier(self, barrier: Callable[[], None]) -> None:
        """Called with the gate closed before each commit: what batches rely on becomes durable there."""
        self.commits.barrier = barrier

    def set_presync(self, presync: Callable[[], None]) -> None:
        """Called before the gate closes for the group's own commit, so that little is left to the barrier."""
        self.commits.presync = presync

    @contextmanager
    def reading(self) -> Iterator[Execute]:
        """The lock, and statements that see everything applied."""
        with self.lock:
            self.check_readable()
            try:
                yield self.execute
            except DatabaseError as error:
                raise translate(error) from error

    def check_readable(self) -> None:
        if self.closed:
            raise Unavailable("the namespace is closed")
        if self.group.lost is not None:
            self.group.restart()

    def change(self, call: Callable[..., object], *args: Any) -> None:
        """Let ``call(*args)`` change the database, in the open group; it may be called again later with
        the same arguments, should a commit fail. Lock held."""
        self.check_readable()
        group = self.group
        group.ensure()
        try:
            call(*args)
        except DatabaseError as error:
            # Part of the call may have happened: go back to what was there before it.
            group.failing = True
            group.restart()
            raise translate(error) from error
        except BaseException:
            group.restart()
            raise
        group.called(call, args)
        self._committer.work()

    def commit(self) -> None:
        """Everything applied is durable when this returns."""
        with self.lock:
            self.commits.commit()

    def make_durable(self) -> None:
        """As ``commit``, by a record in the redo log where that will do. Lock held."""
        self.commits.make_durable()

    def take_back(self, session: Session, last: int) -> None:
        """Undo a session's batches after ``last``, which nobody has seen yet. Lock held."""
        session.forget_after(last)
        self.group.drop(session, last)
        self.group.restart()

    def finish_checkpoint(self) -> None:
        """Move the last of the log into the database, so that the next change starts it over."""
        with self.lock:
            self.check_readable()
            self.commits.commit()
            self.engine.checkpoint("PASSIVE")

    def applied(self) -> None:
        """After batches: see that the group is committed in time."""
        group = self.group
        self._committer.work()
        if len(group.entries) >= GROUP_ENTRIES or group.bytes >= GROUP_BYTES:
            self._committer.hurry()

    def clock_ns(self) -> int:
        """The database's clock, which never goes back. Lock held."""
        now = time.time_ns()
        self._clock = max(self._clock, now)
        return self._clock

    def grant(self, count: int) -> range:
        with self.lock:
            self.check_readable()
            return self.numbers.grant(count)

    def grant_contents(self, count: int) -> range:
        with self.lock:
            self.check_readable()
            return self.numbers.grant_contents(count)

    # --- sessions ------------------------------------------------------------------------------------

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
        """A new session, or with ``resume`` one that an earlier process has left, with its numbering
        and its answers. ``at``: as the volume was at a retained version. NotFound, Fenced.

        ``leased``: a secret of a session that belongs to another process, and lives, its claims too,
        when this one ends; to resume it takes the same secret. Whoever attaches it commits, so that it
        can be resumed, and ends it when its process is gone. Its ``recall`` only passes the question on;
        it has let go when ``let_go`` says so, and renews by ``lease`` alone. ``journals``: it may be away for
        days.

        Whoever has the volume to itself is recalled, and waited for: Throttled after ``patience``, where
        one is given. Not by sessions of the ``background``, which change nothing that users see.
        ``process``: of a ``leased`` session (``core.processes``); nobody waits for one that is gone."""
        with self.lock:
            self.check_readable()
            found = self.roster.named(volume)
            number = self.roster.fresh() if resume is None else resume
            session = Session(
                number,
                found,
                label,
                read_only,
                claims,
                listener,
                leased,
                recall,
                background,
                process,
                journals,
            )
            if resume is None:
                self.roster.admit(session)
            else:
                self.roster.readmit(session)
            holder = self.leases.recall(session)
        self._let_in(session, holder, patience, resumed=resume is not None)
        if at is not None:
            return HistoricNamespace(self, session, at)
        return BrowsableNamespace(SqlNamespace(self, session), self, session)

    def _let_in(
        self, session: Session, holder: Session | None, patience: float | None, *, resumed: bool
    ) -> None:
        """Once nobody has the volume to itself any more."""
        if holder is not None and holder.recall is not None:
            holder.recall()
        try:
            with self.lock:
                self.leases.wait(session, patience)
        except BaseException:
            if resumed:  # it was there before, and is there for the next try
                with self.lock:
                    self.roster.set_aside(session)
            else:
                self.detach(session)
            raise

    def lease(self, number: int, at_most: float) -> VolumeLease:
        """See ``SessionStore``."""
        with self.lock:
            self.check_readable()
            return self.leases.ask(self.roster.attached(number), at_most)

    def let_go(self, number: int, lease: int) -> None:
        """Nothing answered under this lease of the session is used any more. Idempotent."""
        with self.lock:
            self.check_readable()
            self.leases.let_go(number, lease)

    def lease_of(self, number: int) -> int:
        """The number of the lease that a session has, recalled or not; 0: none."""
        with self.lock:
            return self.leases.number_of(number)

    def detach(self, session: Session) -> None:
        with self.lock:
            if not self.closed:
                self.check_readable()
                self.roster.dismiss(session)

    def state_of(self, number: int) -> SessionState:
        """Of an attached session. Fenced where there is none."""
        with self.lock:
            session = self.roster.attached(number)
            return SessionState(session.last, session.durable)

    def set_aside(self, number: int) -> None:
        """See ``SessionStore``."""
        with self.lock:
            self.check_readable()
            session = self.roster.attached(number)
            self.commits.commit()
            while session.dirty:  # the lock may have been given up meanwhile
                self.commits.commit()
            self.roster.set_aside(session)
            self.commits.commit()

    def retake(self, number: int) -> bool:
        """There is no other process that could have had it."""
        return True

    def sessions(self) -> list[SessionRow]:
        """Those attached, and leased ones that a former process has left."""
        with self.lock:
            self.check_readable()
            return self.roster.rows(self.leases.holders())

    def evict(self, number: int) -> None:
        """End a session, whoever has it: what it sends from now on is refused. NotFound. Durable."""
        with self.lock:
            self.check_readable()
            left = {row.id: row for row in self.roster.left()}
            if number in left:
                self.roster.expire(left[number])
            else:
                try:
                    session = self.roster.attached(number)
                except Fenced:
                    raise NotFound(f"there is no session {number}") from None
                self.roster.dismiss(session)
            self.commits.commit()

    def release(self, number: int, inos: Sequence[Ino]) -> None:
        """A session that was asked (``Claims``) has these inodes not, or no longer, open."""
        with self.lock:
            self.check_readable()
            self.roster.release(self.roster.attached(number), inos)

    def claims_of(self, number: int) -> list[Ino]:
        """The inodes without names that are kept for a session."""
        with self.lock:
            self.check_readable()
            return self.roster.claimed_by(number)

    def create_volume(self, name: str) -> VolumeRow:
        """An empty volume. Exists, Invalid. Durable."""
        return volumes.create(self, name)

    def delete_volume(self, name: str) -> None:
        """A volume with all that is in it: gone at once, freed in the background. Busy while sessions are
        attached. Durable."""
        volumes.delete(self, name)

    def volume_rows(self) -> list[VolumeRow]:
        return volumes.rows(self)

    def tell_all(self, changes: list[Change]) -> None:
        """Tell every session what upkeep has changed. Lock not held."""
        if not changes:
            return
        with self.lock:
            listeners = self.roster.listeners()
        for listener in listeners:
            listener(changes)

    def volumes(self) -> list[Volume]:
        with self.lock:
            return self.roster.volumes()

    def note_version(self) -> None:
        """Bring the version on disk up to date: else sessions' rows tell it."""
        with self.lock:
            self.change(self.execute, _SET_META, (self.applier.version, "version"))

    def create_snapshot(self, volume: str, name: str, *, scheduled: bool = False) -> SnapshotRow:
        return snapshots.create_here(self, volume, snapshots.Wanted(name, scheduled))

    def delete_snapshot(self, volume: str, name: str) -> None:
        snapshots.drop_here(self, volume, name)

    def snapshot_rows(self, volume: str) -> list[SnapshotRow]:
        return snapshots.rows_here(self, volume)

    # --- end -----------------------------------------------------------------------------------------

    def counters(self) -> dict[str, int]:
        """Since the store was opened."""
        applier = self.applier
        return {
            "batches": applier.batches,
            "ops": applier.ops,
            "failures": applier.failures,
            "repeats": applier.repeats,
            "commits": self.commits.count,
            "log_records": self.commits.logged,
            "restarts": self.group.restarts,
            "sessions": len(self.roster),
            "loose_bytes": self.loose.bytes,
            "log_bytes": self.engine.log_bytes(),
        }

    def hurry(self, seconds: float) -> None:
        """Nobody waits for this database."""

    def close(self) -> None:
        """Commit, fold the log into the database, stop the threads. Idempotent."""
        self._committer.stop()
        with self.lock:
            if self.closed:
                return
            try:
                self.check_readable()
                self.change(self.commits.save_touched)
                self.change(self.execute, _SET_META, (self.numbers.next, "next_ino"))
                self.change(self.execute, _SET_META, (self.applier.version, "version"))
                self.change(self.execute, _SET_META, (self.applier.txn.content, "next_content"))
                self.commits.commit()
                self.engine.checkpoint("TRUNCATE")
            except DatabaseError as error:
                raise translate(error) from error
            finally:
                self.closed = True
                self.leases.closed()
                self.commits.close_log()
                self.engine.close()
