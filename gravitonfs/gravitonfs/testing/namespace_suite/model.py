"""Files against plain bytes: whatever is done, a file reads as its model says."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gravitonfs.core.extents import REGION, hole
from gravitonfs.core.ids import Ino
from gravitonfs.ports.ops import Append, Clone, Rewrite, Truncate, Unlink, Write
from gravitonfs.testing.namespace_suite.driver import BLOCKS, ROOT, Session, Store

SPAN = 300
"""Files lie around a region's border, so that every change may fall on both sides of it."""
BASE = REGION - SPAN // 2
files = st.integers(0, 3)
offsets = st.integers(0, SPAN)
pieces = st.binary(min_size=1, max_size=60)

QUICK = settings(
    max_examples=25,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


class FilesModel(RuleBasedStateMachine):
    """Derive, set ``open_store``; sparse files start at ``BASE`` with zeroes before it."""

    def open_store(self) -> Store:
        raise NotImplementedError

    @initialize()
    def start(self) -> None:
        self.store = self.open_store()
        self.session = Session(self.store)
        self.inos: dict[int, Ino] = {}
        self.models: dict[int, bytearray] = {}
        for key in range(4):
            self.inos[key] = self.session.make(b"%d" % key).ino
            self.models[key] = bytearray()

    def _write(self, key: int, offset: int, data: bytes | int) -> None:
        model = self.models[key]
        length = data if isinstance(data, int) else len(data)
        extent = (
            hole(BASE + offset, length) if isinstance(data, int) else self.session.extent(BASE + offset, data)
        )
        self.session.do(Write(self.inos[key], (extent,), BASE + offset + length), packs=(self.session.pack,))
        model.extend(bytes(max(0, offset + length - len(model))))
        model[offset : offset + length] = bytes(length) if isinstance(data, int) else data

    @rule(key=files, offset=offsets, data=pieces)
    def write(self, key: int, offset: int, data: bytes) -> None:
        self._write(key, offset, data)

    @rule(key=files, offset=offsets, length=st.integers(1, 80))
    def punch(self, key: int, offset: int, length: int) -> None:
        self._write(key, offset, length)

    @rule(key=files, writes=st.lists(st.tuples(offsets, pieces), min_size=30, max_size=80))
    def many(self, key: int, writes: list[tuple[int, bytes]]) -> None:
        """Enough to fold a region."""
        for offset, data in writes:
            self._write(key, offset, data)

    @rule(key=files, data=pieces)
    def append(self, key: int, data: bytes) -> None:
        model = self.models[key]
        if model:
            extent = self.session.extent(0, data)
            self.session.do(Append(self.inos[key], (extent,), len(data)), packs=(self.session.pack,))
            model.extend(data)

    @rule(key=files, size=offsets)
    def truncate(self, key: int, size: int) -> None:
        model = self.models[key]
        self.session.do(Truncate(self.inos[key], BASE + size if size else 0))
        del model[size:]
        model.extend(bytes(size - len(model)))

    @rule(source=files, to=files)
    def clone(self, source: int, to: int) -> None:
        if source != to:
            self.session.do(Unlink(ROOT, b"%d" % to))
            name = b"%d" % to
            copy = self.session.do(Clone(self.inos[source], ROOT, name, self.session.ino(), 0, 0))
            self.inos[to] = copy.ino
            self.models[to] = bytearray(self.models[source])

    @rule(key=files)
    def seal(self, key: int) -> None:
        attr = self.session.ns.attr(self.inos[key])
        if attr.content and self.session.ns.content(attr.content).digest is None:
            from gravitonfs.ports.ops import Seal

            self.session.do(Seal(attr.content, attr.version, bytes(self.models[key]).ljust(32)[:32]))

    @rule(key=files)
    def rewrite(self, key: int) -> None:
        attr = self.session.ns.attr(self.inos[key])
        if attr.content and self.models[key]:
            extent = self.session.extent(BASE, bytes(self.models[key]))
            self.session.do(Rewrite(attr.content, attr.version, (extent,)), packs=(self.session.pack,))

    @rule(key=files, start=offsets, length=offsets)
    def rewrite_part(self, key: int, start: int, length: int) -> None:
        attr = self.session.ns.attr(self.inos[key])
        part = bytes(self.models[key][start : start + length])
        if attr.content and part:
            extent = self.session.extent(BASE + start, part)
            op = Rewrite(attr.content, attr.version, (extent,), whole=False)
            self.session.do(op, packs=(self.session.pack,))

    @rule()
    def maintain(self) -> None:
        for content in self.store.upkeep.deep_drafts(10):
            self.store.upkeep.flatten(content)
        self.session.reap_all()

    @invariant()
    def reads_as_the_model(self) -> None:
        for key, ino in getattr(self, "inos", {}).items():
            model = self.models[key]
            attr = self.session.ns.attr(ino)
            assert attr.size == (BASE + len(model) if model else 0)
            found = bytearray(len(model))
            for region in self.session.ns.extents(attr.content, 0, 2):
                for extent in region.extents:
                    data = BLOCKS[extent.block][extent.block_offset : extent.block_offset + extent.length]
                    assert extent.offset >= BASE
                    assert extent.end <= attr.size
                    found[extent.offset - BASE : extent.end - BASE] = data
            assert found == model

    def teardown(self) -> None:
        if hasattr(self, "session"):
            assert self.session.problems() == []
            self.store.close()
