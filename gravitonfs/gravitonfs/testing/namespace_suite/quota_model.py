"""Random changes by two sessions under quotas that come and go, against a count of the tree by walking it."""

from __future__ import annotations

import stat
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gravitonfs.core.ids import Ino
from gravitonfs.errors import Invalid, Kind
from gravitonfs.ports import ops
from gravitonfs.testing.namespace_suite.driver import ROOT, Session
from gravitonfs.testing.namespace_suite.quotas import QuotaStore

QUICK = settings(
    max_examples=30,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
names = st.sampled_from([b"a", b"b", b"c"])
places = st.integers(0, 11)
"""Which of the directories, or of the files, there are: taken modulo their number."""
who = st.integers(0, 1)
limits = st.one_of(st.none(), st.integers(0, 60))
counts = st.one_of(st.none(), st.integers(0, 8))


class QuotaModel(RuleBasedStateMachine):
    """Derive, set ``open_stores``: one store twice, or two on one database."""

    def open_stores(self) -> tuple[QuotaStore, QuotaStore]:
        raise NotImplementedError

    @initialize()
    def start(self) -> None:
        self.opened = self.open_stores()
        self.store = self.opened[0]
        self.sessions = [Session(store) for store in self.opened]
        self.limits: dict[Ino, tuple[int | None, int | None]] = {}
        self.refused = False

    # --- the tree, by walking it ---------------------------------------------------------------------

    def _below(self, top: Ino) -> dict[Ino, ops.Attr]:
        found: dict[Ino, ops.Attr] = {}
        pending = [top]
        while pending:
            for entry in self.sessions[0].ns.entries(pending.pop(), None, 100):
                found[entry.attr.ino] = entry.attr
                if stat.S_ISDIR(entry.attr.mode):
                    pending.append(entry.attr.ino)
        return found

    def _directory(self, place: int) -> Ino:
        found = [ino for ino, attr in self._below(ROOT).items() if stat.S_ISDIR(attr.mode)]
        return [ROOT, *sorted(found)][place % (len(found) + 1)]

    def _file(self, place: int) -> ops.Attr | None:
        found = [attr for attr in self._below(ROOT).values() if stat.S_ISREG(attr.mode)]
        return sorted(found)[place % len(found)] if found else None

    def _counted(self, top: Ino) -> tuple[int, int]:
        below = self._below(top).values()
        return sum(attr.size for attr in below if stat.S_ISREG(attr.mode)), len(below)

    # --- changes -------------------------------------------------------------------------------------

    def _do(self, which: int, *todo: ops.Op, growth: tuple[int, int] | None = None) -> None:
        """``growth``: of which it is known that less is never refused."""
        session = self.sessions[which]
        before = {ino: self._counted(ino) for ino in self.limits}
        reply = session.ns.apply([session.batch(*todo)], durable=False)[0]
        kind = None if reply.failure is None else Kind(reply.failure.kind)
        if kind is Kind.QUOTA and growth is not None:
            assert self._too_much(growth), (todo, reply.failure)
        for ino, (size, inodes) in before.items():
            if ino in self._below(ROOT):
                after = self._counted(ino)
                most, others = self.limits[ino]
                assert most is None or after[0] <= max(most, size)
                assert others is None or after[1] <= max(others, inodes)

    def _too_much(self, growth: tuple[int, int]) -> bool:
        for row in self.store.quotas.rows("main"):
            if row.max_bytes is not None and growth[0] > 0 and row.bytes + growth[0] > row.max_bytes:
                return True
            if row.max_inodes is not None and growth[1] > 0 and row.inodes + growth[1] > row.max_inodes:
                return True
        return False

    @rule(which=who, place=places, name=names, directory=st.booleans(), size=st.integers(0, 20))
    def create(self, which: int, place: int, name: bytes, directory: bool, size: int) -> None:
        ino = self.sessions[which].ino()
        mode = 0o040755 if directory else 0o100644
        todo: list[ops.Op] = [ops.Create(self._directory(place), name, ino, mode, 0, 0)]
        if size and not directory:
            todo.append(ops.Truncate(ino, size))
        self._do(which, *todo, growth=(0 if directory else size, 1))

    @rule(which=who, place=places, size=st.integers(0, 30))
    def resize(self, which: int, place: int, size: int) -> None:
        if (file := self._file(place)) is not None:
            self._do(which, ops.Truncate(file.ino, size), growth=(size - file.size, 0))

    @rule(which=who, place=places, data=st.binary(min_size=1, max_size=20))
    def write(self, which: int, place: int, data: bytes) -> None:
        if (file := self._file(place)) is not None:
            session = self.sessions[which]
            extent = session.extent(file.size // 2, data)
            end = file.size // 2 + len(data)
            reply = session.ns.apply(
                [session.batch(ops.Write(file.ino, (extent,), end), packs=(session.pack,))], durable=False
            )[0]
            if reply.failure is not None:
                assert reply.failure.kind == Kind.QUOTA.value
                assert self._too_much((max(end - file.size, 0), 0))

    @rule(which=who, file=places, place=places, name=names)
    def link(self, which: int, file: int, place: int, name: bytes) -> None:
        if (found := self._file(file)) is not None:
            self._do(which, ops.Link(found.ino, self._directory(place), name), growth=(0, 0))

    @rule(which=who, place=places, name=names, how=st.sampled_from([ops.Unlink, ops.Rmdir, ops.RemoveTree]))
    def remove(self, which: int, place: int, name: bytes, how: Any) -> None:
        self._do(which, how(self._directory(place), name), growth=(0, 0))

    @rule(
        which=who, place=places, name=names, to=places, new=names,
        mode=st.sampled_from(list(ops.RenameMode)),
    )  # fmt: skip
    def rename(self, which: int, place: int, name: bytes, to: int, new: bytes, mode: ops.RenameMode) -> None:
        self._do(which, ops.Rename(self._directory(place), name, self._directory(to), new, mode))

    @rule(which=who, source=places, place=places, name=names, replace=st.booleans(), tree=st.booleans())
    def clone(self, which: int, source: int, place: int, name: bytes, replace: bool, tree: bool) -> None:
        file = self._file(source)
        of = self._directory(source) if tree or file is None else file.ino
        ino = self.sessions[which].ino()
        self._do(which, ops.Clone(of, self._directory(place), name, ino, 0, 0, replace=replace))

    @rule(which=who, place=places, name=names, size=st.integers(0, 20))
    def publish(self, which: int, place: int, name: bytes, size: int) -> None:
        ino = self.sessions[which].ino()
        staged = ops.Create(Ino(0), b"", ino, 0o100644, 0, 0)
        directory = self._directory(place)
        self._do(which, staged, ops.Truncate(ino, size), ops.Publish(ino, directory, name))

    # --- quotas --------------------------------------------------------------------------------------

    @rule(which=who, place=places, size=limits, inodes=counts)
    def limit(self, which: int, place: int, size: int | None, inodes: int | None) -> None:
        ino = self._directory(place)
        try:
            row = self.opened[which].quotas.set("main", ino, size, inodes)
        except Invalid:
            assert any(attr.nlink > 1 for attr in self._below(ino).values())
            return
        assert row[:3] == (ino, size, inodes)
        assert not row.counting
        self.limits[ino] = size, inodes

    @rule(which=who, place=places)
    def lift(self, which: int, place: int) -> None:
        ino = self._directory(place)
        if ino in self.limits:
            self.opened[which].quotas.delete("main", ino)
            del self.limits[ino]

    @rule()
    def maintain(self) -> None:
        self.store.upkeep.reap(100)

    @invariant()
    def usages_are_what_is_there(self) -> None:
        if not hasattr(self, "sessions"):
            return
        there = {ROOT, *self._below(ROOT)}
        kept = {row.directory: (row.bytes, row.inodes) for row in self.store.quotas.rows("main")}
        for ino in list(self.limits):
            if ino not in there:
                del self.limits[ino]
            elif ino != ROOT:
                assert kept[ino] == self._counted(ino)

    def teardown(self) -> None:
        if hasattr(self, "sessions"):
            self.sessions[0].reap_all()
            self.usages_are_what_is_there()
            for ino in self.limits:
                found = self.store.quotas.check("main", ino, repair=False)
                assert found.right, found
                assert (found.bytes, found.inodes) == self._counted(ino)
            assert self.sessions[0].problems() == []
            for store in set(self.opened):
                store.close()
