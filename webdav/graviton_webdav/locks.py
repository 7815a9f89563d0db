"""WebDAV write locks, kept in the namespace, so that they outlive a restart and all gateways share them.

A lock belongs to the path it was made for: its record's key is the path, a NUL and the token. Another
record, the epoch, changes whenever a lock does. Whoever knows the epoch's value knows the locks, so one
small query tells a gateway that those it has in memory still hold.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import msgspec

from graviton_webdav.faults import Refused
from graviton_webdav.paths import Path, href
from gravitonfs.content.volume import Volume
from gravitonfs.errors import Conflict
from gravitonfs.ports.ops import Op, SetRecord

SPACE = "webdav-locks"
_EPOCH_SPACE = "webdav-locks-epoch"
_EPOCH = b"epoch"
TIMEOUT_MAX = 7 * 24 * 3600
TIMEOUT_DEFAULT = 3600
_TRIES = 20


class Lock(msgspec.Struct, frozen=True, array_like=True):
    """``owner`` is the XML element that the client sent; times in seconds, by the gateway's clock."""

    token: str
    path: Path
    infinite: bool
    exclusive: bool
    principal: str
    owner: bytes
    timeout: int
    expires: float

    @property
    def key(self) -> bytes:
        return b"".join(b"/" + name for name in self.path) + b"\0" + self.token.encode()

    def left(self) -> int:
        return max(0, round(self.expires - time.time()))


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Lock).decode


def _new_token() -> str:
    """A URI that nobody can guess. Short: clients with fixed buffers put it beside two entity tags."""
    return f"graviton:{secrets.token_urlsafe(16)}"


Table = dict[Path, list[Lock]]
"""All locks by path."""


class _Known(NamedTuple):
    """All locks as they were at an epoch."""

    epoch: bytes
    by_path: Table


class Locks:
    """Thread-safe. ``_gate`` guards the count of changes under way and whether a lock is being made.

    A change checks the locks and is applied inside ``steady``; a lock is made when no change is under
    way, so it cannot slip in between. Between gateways the epoch decides which lock came first.
    """

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._names = volume.namespace
        self._gate = threading.Condition()
        self._changes = 0
        self._locking = False
        self._table = _Known(b"", {})

    @contextmanager
    def steady(self) -> Iterator[None]:
        """No lock is made while this is held."""
        with self._gate:
            while self._locking:
                self._gate.wait()
            self._changes += 1
        try:
            yield
        finally:
            with self._gate:
                self._changes -= 1
                if not self._changes:
                    self._gate.notify_all()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._gate:
            while self._locking:
                self._gate.wait()
            self._locking = True
            while self._changes:
                self._gate.wait()
        try:
            yield
        finally:
            with self._gate:
                self._locking = False
                self._gate.notify_all()

    def _epoch(self) -> bytes:
        found = self._names.records(_EPOCH_SPACE)
        return found[0][1] if found else b""

    def _current(self) -> Table:
        """The locks as they are now. The epoch is read first, so an older table is never kept too long."""
        epoch = self._epoch()
        table = self._table
        if table.epoch != epoch:
            table = _Known(epoch, {})
            for _, value in self._names.records(SPACE):
                lock = _decode(value)
                table.by_path.setdefault(lock.path, []).append(lock)
            self._table = table
        return table.by_path

    def at(self, path: Path) -> list[Lock]:
        """The locks that protect ``path``: its own, and infinite ones further up."""
        return _protecting(self._current(), path)

    def below(self, path: Path) -> list[Lock]:
        """The locks of everything under ``path``, without its own."""
        return _inside(self._current(), path)

    def check(
        self,
        path: Path,
        tokens: Collection[str],
        principal: str,
        *,
        deep: bool = False,
        member: bool = False,
    ) -> None:
        """Refuse (423) to change ``path`` when somebody else's lock protects it.

        ``deep``: all below it is changed as well; ``member``: the change adds or removes the name, so
        a lock on the collection that holds it counts too.
        """
        locks = self._current()
        if not locks:
            return
        found = _protecting(locks, path)
        if deep:
            found += _inside(locks, path)
        if member and path:
            found += _alive(locks.get(path[:-1], ()))
        against = [lock for lock in found if not _opens(lock, tokens, principal)]
        # A shared lock is respected by having one's own among those of that resource.
        held = {lock.path for lock in found if _opens(lock, tokens, principal) and not lock.exclusive}
        against = [lock for lock in against if lock.exclusive or lock.path not in held]
        if against:
            raise Refused(
                423,
                "the resource is locked",
                condition="lock-token-submitted",
                hrefs=sorted({href(lock.path) for lock in against}),
            )

    def acquire(
        self,
        path: Path,
        *,
        infinite: bool,
        exclusive: bool,
        principal: str,
        owner: bytes,
        timeout: int,
        prepare: Callable[[], Sequence[Op]],
    ) -> Lock:
        """Make a lock, durable when this returns; 423 when one stands against it.

        ``prepare`` is called while no change is under way and returns what must be done together with
        the lock (making the file that an unmapped URL gets).
        """
        with self._alone():
            for _ in range(_TRIES):
                before = self._epoch()
                self._refuse_conflicts(path, infinite=infinite, exclusive=exclusive)
                lock = Lock(
                    _new_token(),
                    path,
                    infinite,
                    exclusive,
                    principal,
                    owner,
                    timeout,
                    time.time() + timeout,
                )
                ops = [*prepare(), SetRecord(SPACE, lock.key, _encode(lock)), *self._expired()]
                try:
                    self._volume.submit(_new_epoch(before), *ops, durable=True)
                except Conflict:
                    continue  # another gateway has just made a lock
                return lock
        raise Refused(503, "too many locks are being made at once", headers=[("Retry-After", "1")])

    def _refuse_conflicts(self, path: Path, *, infinite: bool, exclusive: bool) -> None:
        found = self.at(path) + (self.below(path) if infinite else [])
        against = [lock for lock in found if exclusive or lock.exclusive]
        if against:
            raise Refused(
                423,
                "a lock stands against this one",
                condition="no-conflicting-lock",
                hrefs=sorted({href(lock.path) for lock in against}),
            )

    def refresh(self, path: Path, token: str, principal: str, timeout: int) -> Lock:
        """Give a lock that protects ``path`` more time; 412 where there is no such lock."""
        lock = self._mine(path, token, principal, status=412)
        renewed = msgspec.structs.replace(lock, timeout=timeout, expires=time.time() + timeout)
        self._volume.submit(SetRecord(SPACE, lock.key, _encode(renewed)), _new_epoch(), durable=True)
        return renewed

    def release(self, path: Path, token: str, principal: str) -> None:
        """Remove a lock that protects ``path``; 409 where there is no such lock."""
        lock = self._mine(path, token, principal, status=409)
        self._volume.submit(SetRecord(SPACE, lock.key, None), _new_epoch(), durable=True)

    def _mine(self, path: Path, token: str, principal: str, *, status: int) -> Lock:
        for lock in self.at(path):
            if lock.token == token:
                if lock.principal != principal:
                    raise Refused(403, "the lock belongs to another user")
                return lock
        raise Refused(status, "no such lock protects this URL", condition="lock-token-matches-request-uri")

    def removal(self, path: Path) -> list[Op]:
        """What removes the locks of a tree that goes away."""
        locks = self._current()
        gone = [*_alive(locks.get(path, ())), *_inside(locks, path)]
        ops: list[Op] = [SetRecord(SPACE, lock.key, None) for lock in gone]
        return [*ops, _new_epoch()] if ops else []

    def _expired(self) -> list[Op]:
        now = time.time()
        return [
            SetRecord(SPACE, lock.key, None)
            for held in self._current().values()
            for lock in held
            if lock.expires <= now
        ]


def _new_epoch(expect: bytes | None = None) -> SetRecord:
    return SetRecord(_EPOCH_SPACE, _EPOCH, secrets.token_bytes(8), expect)


def _protecting(locks: Table, path: Path) -> list[Lock]:
    if not locks:
        return []
    found = _alive(locks.get(path, ()))
    for depth in range(len(path)):
        found += [lock for lock in _alive(locks.get(path[:depth], ())) if lock.infinite]
    return found


def _inside(locks: Table, path: Path) -> list[Lock]:
    depth = len(path)
    return [
        lock
        for where, held in locks.items()
        if len(where) > depth and where[:depth] == path
        for lock in _alive(held)
    ]


def _alive(locks: Sequence[Lock]) -> list[Lock]:
    now = time.time()
    return [lock for lock in locks if lock.expires > now]


def _opens(lock: Lock, tokens: Collection[str], principal: str) -> bool:
    return lock.token in tokens and lock.principal == principal
