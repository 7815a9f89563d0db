"""Who is attached to which volume, and what a volume's counters say.

Guarded by the store's lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from graviton_server.namespace import orphans, quotas, sessions
from graviton_server.namespace.applying import Moment
from graviton_server.namespace.sessions import Session, SessionRow, Volume
from gravitonfs.core.ids import Ino
from gravitonfs.errors import Fenced, NotFound
from gravitonfs.ports.namespace import Listener
from gravitonfs.ports.store import SessionRow as Listed

if TYPE_CHECKING:
    from graviton_server.namespace.store import NamespaceStore

_VOLUMES: Final = (
    "SELECT v.id, v.name, v.root, v.logical_bytes, v.inodes, coalesce(max(s.version), 0)"
    " FROM volumes v LEFT JOIN snapshots s ON s.volume = v.id GROUP BY v.id"
)
_SAVE_VOLUME: Final = "UPDATE volumes SET logical_bytes = ?, inodes = ? WHERE id = ?"
_VOLUME_OF_CONTENT: Final = "SELECT volume FROM inodes WHERE content = ? AND content <> 0 LIMIT 1"
_CLAIMED_BY: Final = "SELECT ino FROM claims WHERE session = ?"
_VOID_CLAIMS: Final = (
    "SELECT c.ino, c.session, coalesce(i.volume, 0) FROM claims c LEFT JOIN inodes i ON i.ino = c.ino"
    " WHERE c.session NOT IN (SELECT id FROM sessions WHERE leased <> 0)"
    f" AND c.session <> {orphans.RETAINED}"
)
_LAST: Final = "SELECT coalesce(max(id), 0) FROM sessions"
_FORGET: Final = "DELETE FROM sessions WHERE incarnation < ? AND leased = 0"


GONE: Final = "/"
"""Begins the name of a volume that is being freed: its row stays, so that its number is never another's."""


class Roster:
    def __init__(self, store: NamespaceStore) -> None:
        self._store = store
        self._volumes: dict[int, Volume] = {}
        self._sessions: dict[int, Session] = {}
        self._aside: dict[int, Session] = {}
        """Set aside by this process, and not taken up again."""
        self._next: int = store.execute(_LAST).fetchone()[0] + 1

    def load(self) -> None:
        """The volumes as they were last committed."""
        for number, name, root, logical, inodes, snapshot in self._store.execute(_VOLUMES).fetchall():
            volume = self._volumes.get(number)
            if volume is None:
                self._volumes[number] = Volume(number, name, Ino(root), logical, inodes, snapshot)
            else:
                volume.logical_bytes, volume.inodes, volume.snapshot = logical, inodes, snapshot
        found = quotas.load(self._store.execute)
        for volume in self._volumes.values():
            volume.quotas = found.get(volume.id, {})
            volume.chains.moved()

    def bury(self) -> None:
        """At the start: what only this process's former sessions kept goes; leased ones may come back."""
        store = self._store
        store.execute(_FORGET, (store.incarnation - 1,))
        for ino, session, number in store.execute(_VOID_CLAIMS).fetchall():
            volume = self.volume(number)
            txn = store.applier.outside_batch(volume, store.applier.moment())
            orphans.drop_claim(txn, Ino(ino), session)
            volume.add(txn.bytes, txn.inodes)

    # --- volumes -------------------------------------------------------------------------------------

    def volumes(self) -> list[Volume]:
        return [volume for volume in self._volumes.values() if not volume.name.startswith(GONE)]

    def enter_volume(self, volume: Volume) -> None:
        self._volumes[volume.id] = volume

    def next_volume(self) -> int:
        return max(self._volumes) + 1

    def volume(self, number: int) -> Volume:
        """By number; that of an inode without one is any."""
        return self._volumes.get(number) or next(iter(self._volumes.values()))

    def named(self, name: str) -> Volume:
        for volume in self._volumes.values():
            if volume.name == name and not name.startswith(GONE):
                return volume
        raise NotFound(f"there is no volume {name!r}")

    def in_use(self, volume: Volume) -> list[Session]:
        return [session for session in self._sessions.values() if session.volume is volume]

    def volume_of_content(self, content: int) -> Volume:
        row = self._store.execute(_VOLUME_OF_CONTENT, (content,)).fetchone()
        return self.volume(row[0] if row else 0)

    # --- sessions ------------------------------------------------------------------------------------

    def fresh(self) -> int:
        number, self._next = self._next, self._next + 1
        return number

    def admit(self, session: Session) -> None:
        store = self._store
        store.change(sessions.add, store.execute, session, store.incarnation, store.applier.version)
        self._enter(session)

    def readmit(self, session: Session) -> None:
        """A session that a former process has left. Raises Fenced."""
        if session.id in self._sessions or not sessions.resume(self._store.execute, session):
            raise Fenced(f"session {session.id} cannot be resumed")
        self._aside.pop(session.id, None)
        self._store.change(sessions.taken_up, self._store.execute, session.id, session.process)
        self._store.leases.over(session.id)
        self._enter(session)

    def _enter(self, session: Session) -> None:
        self._sessions[session.id] = session
        self._introduce()

    def _introduce(self) -> None:
        """Sessions of a volume know each other's listeners."""
        for session in self._sessions.values():
            session.others = tuple(
                other.listener
                for other in self._sessions.values()
                if other is not session and other.volume is session.volume and other.listener is not None
            )

    def dismiss(self, session: Session) -> None:
        if session.alive:
            session.alive = False
            del self._sessions[session.id]
            self._introduce()
            self._store.leases.over(session.id)
            self._store.change(self._end, session.id, session.volume, self._store.applier.moment())

    def set_aside(self, session: Session) -> None:
        """Its row stays for whoever takes it up, with all that it was answered, and what it has open."""
        if session.alive:
            session.alive = False
            del self._sessions[session.id]
            self._aside[session.id] = session
            self._introduce()
            self._store.leases.over(session.id)

    def _end(self, session: int, volume: Volume, moment: Moment) -> None:
        execute = self._store.execute
        txn = self._store.applier.outside_batch(volume, moment)
        for ino in self.claimed_by(session):
            orphans.drop_claim(txn, ino, session)
        volume.add(txn.bytes, txn.inodes)
        sessions.delete(execute, session)

    def left(self) -> list[sessions.Left]:
        """Leased sessions that are not attached: left by a former process, or set aside."""
        return [row for row in sessions.leased(self._store.execute) if row.id not in self._sessions]

    def rows(self, holders: set[int]) -> list[Listed]:
        """Those attached, and those left. ``holders``: have their volume to themselves."""
        here = [
            Listed(
                s.id, s.volume.name, s.label, s.read_only, s.leased is not None, True, s.last,
                s.id in holders, s.journals,
            )
            for s in self._sessions.values()
        ]  # fmt: skip
        left = [
            Listed(
                row.id, self.volume(row.volume).name, row.label, False, True, False, row.last,
                row.id in holders, row.journals,
            )
            for row in self.left()
        ]  # fmt: skip
        return here + left

    def expire(self, left: sessions.Left) -> None:
        """End one of them."""
        store = self._store
        store.leases.over(left.id)
        self._aside.pop(left.id, None)
        store.change(self._end, left.id, self.volume(left.volume), store.applier.moment())

    def release(self, session: Session, inos: Sequence[Ino]) -> None:
        """A session no longer has these inodes open."""
        self._store.change(
            self._release, session.id, session.volume, list(inos), self._store.applier.moment()
        )

    def _release(self, session: int, volume: Volume, inos: list[Ino], moment: Moment) -> None:
        txn = self._store.applier.outside_batch(volume, moment)
        for ino in inos:
            orphans.drop_claim(txn, ino, session)
        volume.add(txn.bytes, txn.inodes)

    def attached(self, number: int) -> Session:
        """Raises Fenced."""
        session = self._sessions.get(number)
        if session is None:
            raise Fenced(f"session {number} has ended")
        return session

    def all(self) -> list[Session]:
        return list(self._sessions.values())

    def find(self, number: int) -> Session | None:
        return self._sessions.get(number)

    def claimed_by(self, session: int) -> list[Ino]:
        return [Ino(row[0]) for row in self._store.execute(_CLAIMED_BY, (session,))]

    def claimants(self, volume: int, ino: Ino) -> list[int]:
        """The sessions that have an inode open, or may have."""
        return [
            session.id
            for session in (*self._sessions.values(), *self._aside.values())
            if session.volume.id == volume and session.claims is not None and session.claims(ino)
        ]

    def listeners(self) -> list[Listener]:
        return [session.listener for session in self._sessions.values() if session.listener is not None]

    # --- commits -------------------------------------------------------------------------------------

    def save(self, version: int) -> bool:
        """Write what memory has gathered: answers, counters. Was any session's row written?"""
        execute = self._store.execute
        saved = False
        for session in self._sessions.values():
            if session.dirty:
                session.save(execute, version)
                saved = True
        for volume in self._volumes.values():
            if volume.dirty:
                execute(_SAVE_VOLUME, (volume.logical_bytes, volume.inodes, volume.id))
                if volume.quotas:
                    quotas.save(execute, volume.quotas)
        return saved

    def unlogged(self, version: int) -> list[SessionRow]:
        """The rows of sessions that have answered something which is not durable."""
        return [session.row(version) for session in self._sessions.values() if session.durable < session.last]

    def all_logged(self) -> bool:
        return all(session.durable >= session.last for session in self._sessions.values())

    def logged(self) -> None:
        for session in self._sessions.values():
            if session.durable < session.last:
                session.logged()

    def committed(self) -> None:
        for session in self._sessions.values():
            if session.dirty or session.durable != session.previous:
                session.committed()
        for volume in self._volumes.values():
            volume.dirty = False
            for quota in volume.quotas.values():
                quota.dirty = False

    def __len__(self) -> int:
        return len(self._sessions)
