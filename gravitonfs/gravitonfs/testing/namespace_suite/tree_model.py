"""Trees against a plain model: names, links, clones, removals; and the past as it was kept."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from gravitonfs.core.ids import Ino
from gravitonfs.errors import Kind
from gravitonfs.ports import ops
from gravitonfs.testing.namespace_suite.driver import ROOT, Session
from gravitonfs.testing.namespace_suite.history import RetainingStore, picture
from gravitonfs.testing.namespace_suite.snapshots import shown

names = st.sampled_from([b"a", b"b", b"c", b"d"])
paths = st.lists(names, max_size=3).map(tuple)

QUICK = settings(
    max_examples=30,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

Tree = dict[bytes, Any]
"""A directory of the model: names with files (one-element lists, shared by hard links) or directories."""


class TreeModel(RuleBasedStateMachine):
    """Derive, set ``open_store``."""

    def open_store(self) -> RetainingStore:
        raise NotImplementedError

    @initialize()
    def start(self) -> None:
        self.store = self.open_store()
        self.session = Session(self.store)
        self.tree: Tree = {}
        self.kept: dict[str, tuple[int, dict[bytes, object]]] = {}
        self.snapshots = 0
        self.data = 0

    def _find(self, path: tuple[bytes, ...]) -> tuple[Any, Ino] | None:
        node: Any = self.tree
        for name in path:
            if not isinstance(node, dict) or name not in node:
                return None
            node = node[name]
        steps = self.session.ns.resolve(path)
        assert len(steps) == len(path)
        return node, steps[-1].ino if steps else ROOT

    def _directory(self, path: tuple[bytes, ...]) -> tuple[Tree, Ino] | None:
        found = self._find(path)
        return found if found is not None and isinstance(found[0], dict) else None

    def _do(self, op: ops.Op, expected: Kind | None) -> Any:
        if expected is None:
            return self.session.do(op)
        self.session.fails(expected, op)
        return None

    @rule(path=paths, name=names, directory=st.booleans())
    def create(self, path: tuple[bytes, ...], name: bytes, directory: bool) -> None:
        if (found := self._directory(path)) is None:
            return
        tree, ino = found
        mode = 0o040755 if directory else 0o100644
        op = ops.Create(ino, name, self.session.ino(), mode, 0, 0)
        if self._do(op, Kind.EXISTS if name in tree else None):
            tree[name] = {} if directory else [b""]

    @rule(path=paths)
    def write(self, path: tuple[bytes, ...]) -> None:
        found = self._find(path)
        if found is not None and isinstance(found[0], list):
            self.data += 1
            data = b"%04d" % self.data
            self.session.write(found[1], len(found[0][0]) % 8, data)
            found[0][0] = found[0][0][: len(found[0][0]) % 8] + data + found[0][0][len(found[0][0]) % 8 + 4 :]

    @rule(source=paths, path=paths, name=names)
    def link(self, source: tuple[bytes, ...], path: tuple[bytes, ...], name: bytes) -> None:
        one, two = self._find(source), self._directory(path)
        if one is None or two is None:
            return
        tree, ino = two
        expected = None
        if isinstance(one[0], dict):
            expected = Kind.NOT_PERMITTED
        elif name in tree:
            expected = Kind.EXISTS
        if self._do(ops.Link(one[1], ino, name), expected):
            tree[name] = one[0]

    @rule(path=paths, name=names, how=st.sampled_from([ops.Unlink, ops.Rmdir, ops.RemoveTree]))
    def remove(self, path: tuple[bytes, ...], name: bytes, how: Any) -> None:
        if (found := self._directory(path)) is None:
            return
        tree, ino = found
        node = tree.get(name)
        expected = None
        if node is None:
            expected = Kind.NOT_FOUND
        elif how is ops.Unlink and isinstance(node, dict):
            expected = Kind.IS_A_DIRECTORY
        elif how is ops.Rmdir and not isinstance(node, dict):
            expected = Kind.NOT_A_DIRECTORY
        elif how is ops.Rmdir and node:
            expected = Kind.NOT_EMPTY
        if self._do(how(ino, name), expected):
            del tree[name]

    @rule(path=paths, name=names, to=paths, new=names, mode=st.sampled_from(list(ops.RenameMode)))
    def rename(
        self, path: tuple[bytes, ...], name: bytes, to: tuple[bytes, ...], new: bytes, mode: ops.RenameMode
    ) -> None:
        one, two = self._directory(path), self._directory(to)
        if one is None or two is None:
            return
        (source, source_ino), (target, target_ino) = one, two
        node, there = source.get(name), target.get(new)
        below = isinstance(node, dict) and to[: len(path) + 1] == (*path, name)
        above = isinstance(there, dict) and path[: len(to) + 1] == (*to, new)
        expected = self._refusal(node, there, below, above, mode)
        self._do(ops.Rename(source_ino, name, target_ino, new, mode), expected)
        if expected is not None or node is there:
            return
        if mode is ops.RenameMode.EXCHANGE:
            source[name], target[new] = there, node
        else:
            del source[name]
            target[new] = node

    @staticmethod
    def _refusal(node: Any, there: Any, below: bool, above: bool, mode: ops.RenameMode) -> Kind | None:
        if node is None:
            return Kind.NOT_FOUND
        if below:
            return Kind.INVALID
        if mode is ops.RenameMode.EXCHANGE:
            if there is None:
                return Kind.NOT_FOUND
            return Kind.INVALID if above and node is not there else None
        if there is None:
            return None
        if mode is ops.RenameMode.NOREPLACE:
            return Kind.EXISTS
        if node is there:
            return None
        if isinstance(there, dict):
            if not isinstance(node, dict):
                return Kind.IS_A_DIRECTORY
            return Kind.NOT_EMPTY if there else None
        return Kind.NOT_A_DIRECTORY if isinstance(node, dict) else None

    @rule(source=paths, path=paths, name=names)
    def clone(self, source: tuple[bytes, ...], path: tuple[bytes, ...], name: bytes) -> None:
        one, two = self._find(source), self._directory(path)
        if one is None or two is None:
            return
        tree, ino = two
        expected = None
        if name in tree:
            expected = Kind.EXISTS
        elif isinstance(one[0], dict) and path[: len(source)] == source:
            expected = Kind.INVALID
        if self._do(ops.Clone(one[1], ino, name, self.session.ino(), 0, 0), expected):
            tree[name] = copy.deepcopy(one[0])

    @rule()
    def maintain(self) -> None:
        self.store.upkeep.reap(7)
        for content in self.store.upkeep.deep_drafts(3):
            self.store.upkeep.flatten(content)

    @precondition(lambda self: len(self.kept) < 3)
    @rule()
    def keep(self) -> None:
        self.snapshots += 1
        row = self.store.create_snapshot("main", f"kept {self.snapshots}")
        self.kept[row.name] = row.version, picture(self.session.ns)

    @precondition(lambda self: self.kept)
    @rule(data=st.data())
    def let_go(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.kept)))
        del self.kept[name]
        self.store.delete_snapshot("main", name)

    @precondition(lambda self: self.kept)
    @rule(data=st.data())
    def look_back(self, data: st.DataObject) -> None:
        self._as_it_was(data.draw(st.sampled_from(sorted(self.kept))))

    def _as_it_was(self, name: str) -> None:
        version, before = self.kept[name]
        then = self.store.attach(label="past", at=version)
        assert picture(then) == before
        then.detach()
        assert shown(self.session, name) == before

    @rule()
    def compare(self) -> None:
        """Names, bytes, and which names are one file."""
        ns = self.session.ns
        linked: dict[int, Ino] = {}
        pending: list[tuple[Tree, Ino]] = [(self.tree, ROOT)]
        while pending:
            tree, ino = pending.pop()
            entries = {entry.name: entry.attr for entry in ns.entries(ino, None, 100)}
            assert sorted(entries) == sorted(tree)
            for name, node in tree.items():
                attr = entries[name]
                if isinstance(node, dict):
                    pending.append((node, attr.ino))
                else:
                    assert self.session.read(attr.ino) == node[0]
                    assert linked.setdefault(id(node), attr.ino) == attr.ino

    def teardown(self) -> None:
        if hasattr(self, "session"):
            self.compare()
            assert [row.name for row in self.store.snapshot_rows("main")] == list(self.kept)
            self.session.reap_all()
            for name in list(self.kept):
                self._as_it_was(name)
            assert self.session.problems() == []
            for name in self.kept:
                self.store.delete_snapshot("main", name)
            self.session.do(*(ops.RemoveTree(ROOT, name) for name in self.session.names()))
            self.session.reap_all()
            assert self.session.problems() == []
            assert list(self.store.upkeep.extent_rows()) == []  # neither files nor history hold a block
            self.store.close()
