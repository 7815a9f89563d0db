"""What a caching session answers is what an unwrapped one is told, whatever the two have done before."""

from __future__ import annotations

import stat
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gravitonfs.content.answering import Answering
from gravitonfs.content.caching_namespace import CachingNamespace
from gravitonfs.content.names_cache import NamesCache
from gravitonfs.core import acl
from gravitonfs.core.ids import Ino
from gravitonfs.errors import GravitonError
from gravitonfs.ports import ops
from gravitonfs.ports.namespace import Claims, Entry, Listener, Namespace
from gravitonfs.testing.namespace_suite.driver import ROOT, Session, Store, kept_of

QUICK = settings(
    max_examples=60,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

HOUR = 3600.0
names = st.sampled_from([b"a", b"b", b"c", b"d", b"e"])
places = st.integers(0, 7)
"""Which of the inodes that were made: directories and others are taken modulo their number."""
modes = st.sampled_from([0o100644, 0o040755, 0o042775, 0o120777, 0o010600])
xattrs = st.sampled_from([b"user.one", b"user.two", acl.ACCESS, acl.DEFAULT])
_ENTRIES = acl.parse(
    b"\x02\0\0\0" + b"".join(tag + b"\0" + perm + b"\0" + who for tag, perm, who in (
        (b"\x01", b"\x07", b"\xff" * 4), (b"\x02", b"\x05", b"\x0a\0\0\0"), (b"\x04", b"\x05", b"\xff" * 4),
        (b"\x10", b"\x05", b"\xff" * 4), (b"\x20", b"\x01", b"\xff" * 4)))
)  # fmt: skip


class Lease:
    """Stands between the cache and the store: trusted for as long as the machine says."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        self.until = float("inf")

    def trusted_until(self) -> float:
        return self.until

    def __getattr__(self, name: str) -> Any:
        return getattr(self._namespace, name)


class Local(CachingNamespace):
    """Changes are answered from memory where they can be; they wait there until somebody asks the store."""

    def __init__(self, namespace: Namespace, cache: NamesCache, claims: Claims = lambda ino: False) -> None:
        super().__init__(
            namespace, cache, Answering(namespace, cache, claims, cache.listening(None), gather=HOUR)
        )

    def apply(self, batches: Sequence[ops.Batch], *, durable: bool) -> list[ops.Reply]:
        replies: list[ops.Reply] = []
        for batch in batches:
            reply = None if durable else self.answer(batch, kept_of(batch))
            replies += super().apply([batch], durable=durable) if reply is None else [reply]
        return replies


class CachingModel(RuleBasedStateMachine):
    """Derive, set ``open_store``. ``holder`` has the lease; ``other`` changes things when it has not, and
    does at any time what background work does."""

    def open_store(self) -> Store:
        raise NotImplementedError

    @initialize(budget=st.sampled_from([6_000, 1 << 20]), answers=st.booleans())
    def start(self, budget: int, answers: bool) -> None:
        self.answers = answers
        self.store = self.open_store()
        self.cache = NamesCache(budget)
        self.lease: Lease | None = None
        leased: Any = _Leased(self)
        self.holder = Session(leased, "holder", listener=self.cache.listening(None))
        self.other = Session(self.store, "other")
        self.plain = self.other.ns
        self.directories: list[Ino] = [ROOT]
        self.inodes: list[Ino] = [ROOT]

    def attach(self, listener: Listener) -> CachingNamespace:
        self.lease = Lease(self.store.attach(label="holder", listener=listener))
        return Local(self.lease, self.cache) if self.answers else CachingNamespace(self.lease, self.cache)

    def _settled(self) -> None:
        """The store has all that was answered, and agrees."""
        names = self.holder.ns
        assert isinstance(names, CachingNamespace)
        names.settle()
        assert names.answering is None or names.answering.surprises == 0

    def _directory(self, place: int) -> Ino:
        return self.directories[place % len(self.directories)]

    def _inode(self, place: int) -> Ino:
        return self.inodes[place % len(self.inodes)]

    def _do(self, session: Session, op: ops.Op, **fields: Any) -> Any:
        try:
            return session.do(op, **fields)
        except GravitonError:
            return None

    @property
    def _who(self) -> Session:
        """Who may change names now."""
        assert self.lease is not None
        return self.holder if self.lease.until else self.other

    # --- what is done --------------------------------------------------------------------------------

    @rule(place=places, name=names, mode=modes)
    def create(self, place: int, name: bytes, mode: int) -> None:
        who = self._who
        target = b"where" if stat.S_ISLNK(mode) else b""
        op = ops.Create(self._directory(place), name, who.ino(), mode, 1, 2, 0, target)
        made = self._do(who, op)
        if made is not None:
            self.inodes.append(made.ino)
            if stat.S_ISDIR(mode):
                self.directories.append(made.ino)

    @rule(source=places, place=places, name=names)
    def link(self, source: int, place: int, name: bytes) -> None:
        self._do(self._who, ops.Link(self._inode(source), self._directory(place), name))

    @rule(place=places, name=names, how=st.sampled_from([ops.Unlink, ops.Unlink, ops.Rmdir, ops.RemoveTree]))
    def remove(self, place: int, name: bytes, how: Any) -> None:
        self._do(self._who, how(self._directory(place), name))

    @rule(place=places, name=names, to=places, new=names, mode=st.sampled_from([0, 0, 1, 2]))
    def rename(self, place: int, name: bytes, to: int, new: bytes, mode: int) -> None:
        self._do(self._who, ops.Rename(self._directory(place), name, self._directory(to), new, mode))

    @rule(place=places, mode=st.sampled_from([0o600, 0o4755]))
    def chmod(self, place: int, mode: int) -> None:
        self._do(self._who, ops.SetAttr(self._inode(place), mode=mode, mtime_ns=5))

    @rule(place=places, size=st.integers(0, 3))
    def truncate(self, place: int, size: int) -> None:
        self._do(self._who, ops.Truncate(self._inode(place), size))

    @rule(place=places, offset=st.integers(0, 3), seal=st.sampled_from([None, b"s" * 32]))
    def write(self, place: int, offset: int, seal: bytes | None) -> None:
        who = self._who
        extent = who.extent(offset, b"data")
        op = ops.Write(self._inode(place), (extent,), offset + 4, ops.ANY, seal)
        self._do(who, op, packs=(who.pack,))

    @rule(place=places, expect=st.integers(-1, 4))
    def seal_own(self, place: int, expect: int) -> None:
        self._do(self._who, ops.Write(self._inode(place), (), 4, expect, b"t" * 32))

    @rule(place=places, name=xattrs, remove=st.booleans())
    def set_xattr(self, place: int, name: bytes, remove: bool) -> None:
        value = acl.serialize(_ENTRIES) if name.startswith(b"system") else b"value"
        op: ops.Op = ops.SetXattr(self._inode(place), name, value)
        self._do(self._who, ops.RemoveXattr(self._inode(place), name) if remove else op)

    @rule(source=places, place=places, name=names)
    def clone(self, source: int, place: int, name: bytes) -> None:
        who = self._who
        made = self._do(who, ops.Clone(self._inode(source), self._directory(place), name, who.ino(), 1, 2))
        if made is not None:
            self.inodes.append(made.ino)

    @rule(place=places)
    def several_at_once(self, place: int) -> None:
        """One batch of several ops, as ``put`` of the daemon makes."""
        who = self._who
        parent, ino = self._directory(place), who.ino()
        todo = (ops.Create(parent, b"f", ino, stat.S_IFREG | 0o600, 1, 1), ops.SetAttr(ino, mode=0o640))
        reply = who.ns.apply([who.batch(*todo)], durable=False)[0]
        if reply.failure is None:
            self.inodes.append(ino)

    # --- what background work does, and others once they are let in -----------------------------------

    @rule(place=places)
    def sealed_in_the_background(self, place: int) -> None:
        self._settled()
        try:
            attr = self.plain.attr(self._inode(place))
            if attr.content:
                self.other.do(ops.Seal(attr.content, attr.version, b"u" * 32))
        except GravitonError:
            pass

    @precondition(lambda self: self.lease.until)
    @rule()
    def recalled(self) -> None:
        assert self.lease is not None
        self.lease.until = 0.0
        self.cache.recalling(None)()

    @precondition(lambda self: not self.lease.until)
    @rule()
    def alone_again(self) -> None:
        assert self.lease is not None
        self.lease.until = float("inf")

    # --- what is read --------------------------------------------------------------------------------

    @rule(place=places, name=names)
    def look_up(self, place: int, name: bytes) -> None:
        self._same(lambda ns: ns.lookup(self._directory(place), name))

    @rule(place=places, after=st.none() | names, limit=st.integers(1, 4))
    def list_some(self, place: int, after: bytes | None, limit: int) -> None:
        self._same(lambda ns: ns.entries(self._directory(place), after, limit))

    @rule(path=st.lists(names, max_size=3))
    def resolve(self, path: list[bytes]) -> None:
        self._same(lambda ns: ns.resolve(path))

    @rule(place=places, name=xattrs)
    def look_at(self, place: int, name: bytes) -> None:
        ino = self._inode(place)
        self._same(lambda ns: ns.xattr(ino, name))
        self._same(lambda ns: ns.readlink(ino))

    @rule()
    def read_all(self) -> None:
        questions: list[Callable[[Namespace], Any]] = []
        for ino in self.inodes:
            questions += [partial(_attr, ino), partial(_xattrs, ino)]
        for ino in self.directories:
            questions += [partial(_entries, ino), partial(_parent, ino)]
            questions += [partial(_lookup, ino, name) for name in (b"a", b"b", b"f")]
        for question in questions:
            self._same(question)

    @invariant()
    def within_the_budget(self) -> None:
        if hasattr(self, "cache"):
            known = self.cache.known
            assert 0 <= known.size <= known.budget
            assert known.size >= len(known) * 100

    def _same(self, question: Callable[[Namespace], Any]) -> None:
        found = _outcome(question, self.holder.ns)
        self._settled()
        expected = _outcome(question, self.plain)
        if isinstance(found, list) and isinstance(expected, list):
            # Sealing what several files share is told to nobody.
            found = [
                one._replace(digest=two.digest) if isinstance(one, Entry) and one.digest is None else one
                for one, two in zip(found, expected, strict=True)
            ]
        assert found == expected

    def teardown(self) -> None:
        if hasattr(self, "holder"):
            self.read_all()
            self.holder.ns.detach()
            self.store.close()


class _Leased:
    """The machine as a store, for ``Session``."""

    def __init__(self, machine: CachingModel) -> None:
        self._machine = machine

    def attach(self, *, label: str, listener: Listener) -> CachingNamespace:
        return self._machine.attach(listener)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._machine.store, name)


def _outcome(question: Callable[[Namespace], Any], namespace: Namespace) -> Any:
    try:
        return question(namespace)
    except GravitonError as error:
        return error.kind


def _attr(ino: Ino, namespace: Namespace) -> Any:
    return namespace.attr(ino)


def _xattrs(ino: Ino, namespace: Namespace) -> Any:
    return sorted(namespace.xattrs(ino))


def _entries(ino: Ino, namespace: Namespace) -> Any:
    return namespace.entries(ino, None, 100)


def _parent(ino: Ino, namespace: Namespace) -> Any:
    return namespace.parent(ino)


def _lookup(ino: Ino, name: bytes, namespace: Namespace) -> Any:
    return namespace.lookup(ino, name)
