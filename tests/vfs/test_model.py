"""The VFS against a plain model: dictionaries of bytes and names."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from content.trusting import Trusted
from graviton_server.wiring import Engine, EngineOptions, create_embedded
from gravitonfs.content.answering import Answering
from gravitonfs.content.caching_namespace import CachingNamespace
from gravitonfs.content.names_cache import NamesCache
from gravitonfs.content.volume import Volume
from gravitonfs.core.format import VolumeFormat
from gravitonfs.core.ids import ROOT_INO, Ino
from gravitonfs.errors import Exists, IsADirectory, NotADirectory, NotEmpty, NotFound
from gravitonfs.ports.namespace import Change, Claims
from gravitonfs.ports.ops import Clone, RenameMode, SetAttr
from gravitonfs.vfs.files import FileHandle
from gravitonfs.vfs.vfs import Vfs

R = TypeVar("R")

PHASES = (Phase.explicit, Phase.reuse, Phase.generate) if os.environ.get("NOSHRINK") else tuple(Phase)

SMALL_BLOCKS = VolumeFormat(block_min=64, block_average=256, block_max=1024)
"""So that a few kilobytes have many blocks, boundaries and tails."""

names = st.sampled_from([b"a", b"b", b"c", b"\xff\xfe"])
offsets = st.integers(0, 6000)
pieces = st.one_of(
    st.binary(min_size=1, max_size=40),
    st.tuples(st.integers(0, 255), st.integers(1, 5000)).map(lambda t: bytes([t[0]]) * t[1]),
    st.tuples(st.integers(0, 2**32), st.integers(1, 5000)).map(
        lambda t: (t[0].to_bytes(8, "big") + os.urandom(0)) * (t[1] // 8 + 1)
    ),
)


class ModelFile:
    def __init__(self) -> None:
        self.data = bytearray()
        self.links = 1
        self.opens = 0


class VfsMachine(RuleBasedStateMachine):
    """One mount; directories two levels deep, files open and unlinked, clones, remounts."""

    handles = Bundle("handles")

    def __init__(self) -> None:
        super().__init__()
        self.path = Path(tempfile.mkdtemp(prefix="graviton-model-"))
        create_embedded(self.path / "data", SMALL_BLOCKS)
        self.open_handles: dict[int, tuple[FileHandle, ModelFile]] = {}
        self.next_handle = 0
        self.dirs: dict[Ino, dict[bytes, Ino]] = {ROOT_INO: {}}
        self.files: dict[Ino, ModelFile] = {}
        self._mount()

    def _mount(self) -> None:
        self.engine = Engine(self.path / "data", EngineOptions(memory=48 << 20, background=False))
        holder: list[Vfs] = []

        def claims(ino: Ino) -> bool:
            return bool(holder) and holder[0].claims(ino)

        def changed(changes: object) -> None:
            assert isinstance(changes, (list, tuple))
            assert all(isinstance(change, Change) for change in changes)

        self.volume = self.engine.volume("model", claims, changed)
        self.vfs = Vfs(self.volume)
        holder.append(self.vfs)

    def _unmount(self) -> None:
        for number in list(self.open_handles):
            self._close(number)
        self.run(self.vfs.sync_all)
        self.volume.close()
        self.engine.close()

    def teardown(self) -> None:
        self._unmount()
        shutil.rmtree(self.path)

    @staticmethod
    def run(call: Callable[..., Coroutine[Any, Any, R]], *args: object) -> R:
        return trio.run(call, *args)

    # Names.

    def _directory(self, index: int) -> Ino:
        inos = sorted(self.dirs)
        return inos[index % len(inos)]

    @rule(where=st.integers(0, 5), name=names)
    def mkdir(self, where: int, name: bytes) -> None:
        parent = self._directory(where)
        if name in self.dirs[parent]:
            with pytest.raises(Exists):
                self.vfs.make(parent, name, stat.S_IFDIR | 0o755, 0, 0)
            return
        attr = self.vfs.make(parent, name, stat.S_IFDIR | 0o755, 0, 0)
        self.dirs[parent][name] = attr.ino
        self.dirs[attr.ino] = {}

    @rule(where=st.integers(0, 5), name=names)
    def rmdir(self, where: int, name: bytes) -> None:
        parent = self._directory(where)
        ino = self.dirs[parent].get(name)
        if ino is None:
            with pytest.raises(NotFound):
                self.vfs.rmdir(parent, name)
        elif ino not in self.dirs:
            with pytest.raises(NotADirectory):
                self.vfs.rmdir(parent, name)
        elif self.dirs[ino]:
            with pytest.raises(NotEmpty):
                self.vfs.rmdir(parent, name)
        else:
            self.vfs.rmdir(parent, name)
            del self.dirs[parent][name], self.dirs[ino]

    @rule(target=handles, where=st.integers(0, 5), name=names, truncate=st.booleans())
    def open(self, where: int, name: bytes, truncate: bool) -> int:
        parent = self._directory(where)
        ino = self.dirs[parent].get(name)
        if ino in self.dirs:
            name, ino = b"file", self.dirs[parent].get(b"file")
        flags = os.O_RDWR | (os.O_TRUNC if truncate else 0)
        if ino is None:
            handle, attr = self.run(self.vfs.create, parent, name, 0o644, 0, 0, flags)
            self.dirs[parent][name] = attr.ino
            self.files[attr.ino] = ModelFile()
            ino = attr.ino
        else:
            handle, _ = self.run(self.vfs.open, ino, flags)
            if truncate:
                self.files[ino].data.clear()
        model = self.files[ino]
        model.opens += 1
        self.next_handle += 1
        self.open_handles[self.next_handle] = (handle, model)
        return self.next_handle

    def _close(self, number: int) -> None:
        handle, model = self.open_handles.pop(number)
        self.run(self.vfs.files.close, handle.inode)
        self.run(self.vfs.files.release, handle)
        model.opens -= 1
        self._forget(model)

    def _forget(self, model: ModelFile) -> None:
        if not model.opens and not model.links:
            self.files = {ino: m for ino, m in self.files.items() if m is not model}

    @rule(number=consumes(handles))
    def close(self, number: int) -> None:
        if number in self.open_handles:
            self._close(number)

    def _drop_link(self, ino: Ino) -> None:
        model = self.files[ino]
        model.links -= 1
        self._forget(model)

    @rule(where=st.integers(0, 5), name=names)
    def unlink(self, where: int, name: bytes) -> None:
        parent = self._directory(where)
        ino = self.dirs[parent].get(name)
        if ino is None:
            with pytest.raises(NotFound):
                self.vfs.unlink(parent, name)
        elif ino in self.dirs:
            with pytest.raises(IsADirectory):
                self.vfs.unlink(parent, name)
        else:
            self.vfs.unlink(parent, name)
            del self.dirs[parent][name]
            self._drop_link(ino)

    @rule(where=st.integers(0, 5), name=names, to=st.integers(0, 5), new=names)
    def rename_file(self, where: int, name: bytes, to: int, new: bytes) -> None:
        parent, target = self._directory(where), self._directory(to)
        ino = self.dirs[parent].get(name)
        if ino is None or ino in self.dirs:
            return
        there = self.dirs[target].get(new)
        if there in self.dirs:
            with pytest.raises(IsADirectory):
                self.vfs.rename(parent, name, target, new, RenameMode.REPLACE)
            return
        self.vfs.rename(parent, name, target, new, RenameMode.REPLACE)
        if there == ino:
            return
        if there is not None:
            self._drop_link(there)
        del self.dirs[parent][name]
        self.dirs[target][new] = ino

    @rule(where=st.integers(0, 5), name=names, to=st.integers(0, 5), new=names)
    def link(self, where: int, name: bytes, to: int, new: bytes) -> None:
        ino = self.dirs[self._directory(where)].get(name)
        target = self._directory(to)
        if ino is None or ino in self.dirs:
            return
        if new in self.dirs[target]:
            with pytest.raises(Exists):
                self.vfs.link(ino, target, new)
            return
        self.vfs.link(ino, target, new)
        self.dirs[target][new] = ino
        self.files[ino].links += 1

    @rule(where=st.integers(0, 5), name=names, to=st.integers(0, 5), new=names)
    def clone(self, where: int, name: bytes, to: int, new: bytes) -> None:
        ino = self.dirs[self._directory(where)].get(name)
        target = self._directory(to)
        if ino is None or ino in self.dirs or new in self.dirs[target]:
            return
        self.run(self.vfs.files.flush_all)
        attr = self.volume.submit_for_attr(
            Clone(ino, target, new, self.volume.new_ino(), 0, 0, preserve=True)
        )
        self.vfs.changed([])
        self.dirs[target][new] = attr.ino
        self.files[attr.ino] = ModelFile()
        self.files[attr.ino].data[:] = self.files[ino].data
        inode = self.vfs.files.open_inodes.get(ino)
        if inode is not None:
            inode.stale = True

    # Bytes.

    @rule(number=handles, offset=offsets, data=pieces)
    def write(self, number: int, offset: int, data: bytes) -> None:
        if number not in self.open_handles:
            return
        handle, model = self.open_handles[number]
        assert self.run(self.vfs.write, handle, offset, data) == len(data)
        if offset > len(model.data):
            model.data.extend(bytes(offset - len(model.data)))
        model.data[offset : offset + len(data)] = data

    @rule(number=handles, data=pieces)
    def append(self, number: int, data: bytes) -> None:
        if number in self.open_handles:
            self.write(number, len(self.open_handles[number][1].data), data)

    @rule(number=handles, offset=offsets, size=st.integers(1, 8000))
    def read(self, number: int, offset: int, size: int) -> None:
        if number not in self.open_handles:
            return
        handle, model = self.open_handles[number]
        data = bytes(self.run(self.vfs.files.read, handle, offset, size))
        assert data == bytes(model.data[offset : offset + size])

    @rule(number=handles, size=offsets)
    def truncate(self, number: int, size: int) -> None:
        if number not in self.open_handles:
            return
        handle, model = self.open_handles[number]
        attr = self.run(self.vfs.set_attr, SetAttr(handle.inode.attr.ino), size)
        assert attr.size == size
        if size <= len(model.data):
            del model.data[size:]
        else:
            model.data.extend(bytes(size - len(model.data)))

    @rule(number=handles)
    def fsync(self, number: int) -> None:
        if number in self.open_handles:
            self.run(self.vfs.fsync, self.open_handles[number][0])

    @precondition(lambda self: self.next_handle > 2)
    @rule()
    def remount(self) -> None:
        self._unmount()
        self._mount()

    # What must hold.

    @invariant()
    def names_and_sizes_agree(self) -> None:
        for ino, entries in self.dirs.items():
            listed = {
                e.name: e.attr for e in self.vfs.read_directory(self.vfs.open_directory(ino), 0).entries
            }
            assert {name: attr.ino for name, attr in listed.items()} == entries
            for attr in listed.values():
                if attr.ino in self.files:
                    assert attr.size == len(self.files[attr.ino].data)
                    assert attr.nlink == self.files[attr.ino].links
                else:
                    children = self.dirs[attr.ino].values()
                    assert attr.nlink == 2 + sum(child in self.dirs for child in children)

    def _whole(self) -> None:
        self.run(self.vfs.files.flush_all)
        for ino, model in self.files.items():
            attr = self.vfs.attr(ino)
            data = bytes(self.volume.reader(attr).read(0, attr.size + 1))
            assert data == bytes(model.data)

    @rule()
    def everything_reads_back(self) -> None:
        self._whole()


class SoleVfsMachine(VfsMachine):
    """Of a shared store that it has to itself: names are answered from memory, changes go to threads,
    attributes wait for their bytes, and now and then it is recalled."""

    def _mount(self) -> None:
        self.engine = Engine(self.path / "data", EngineOptions(memory=48 << 20, background=False))
        self.cache = NamesCache(100_000)
        holder: list[Vfs] = []

        def claims(ino: Ino) -> bool:
            return bool(holder) and holder[0].claims(ino)

        namespace = self.engine.namespace_store.attach(
            label="model", claims=claims, listener=self.cache.listening(None)
        )
        self.trusted = Trusted(namespace)
        self.volume = Volume(self._caching(claims), self.engine.content)
        self.vfs = Vfs(self.volume)
        holder.append(self.vfs)

    def _caching(self, claims: Claims) -> CachingNamespace:
        return CachingNamespace(self.trusted, self.cache)

    @rule(index=st.integers(0, 5), mode=st.integers(0, 0o777), mtime=st.none() | st.integers(1, 10**18))
    def set_attributes(self, index: int, mode: int, mtime: int | None) -> None:
        """Of an open file: it may have bytes that wait, or not."""
        if self.open_handles:
            handle, _ = list(self.open_handles.values())[index % len(self.open_handles)]
            ino = handle.inode.attr.ino
            told = self.run(self.vfs.set_attr, SetAttr(ino, mode=mode, mtime_ns=mtime), None)
            assert told.mode & 0o7777 == mode
            assert mtime is None or told.mtime_ns == mtime
            assert self.vfs.attr(ino) == told

    @rule()
    def recalled(self) -> None:
        """Everything that was answered is in the namespace then, and another session sees it."""
        expected = {
            ino: self.vfs.attr(ino)
            for ino in self.files
            if (inode := self.vfs.files.open_inodes.get(ino)) is None or inode.put_off is not None
        }
        self.trusted.until = 0.0
        self.run(self.vfs.files.settle_all)
        self.cache.recalling(None)()
        other = self.engine.namespace_store.attach(label="other", read_only=True)
        for ino, attr in expected.items():
            found = other.attr(ino)
            same = ("mode", "size", "uid", "gid", "mtime_ns")
            assert all(getattr(found, name) == getattr(attr, name) for name in same)
        other.detach()
        self.trusted.until = float("inf")


class AnsweringVfsMachine(SoleVfsMachine):
    """Its changes are answered from memory, too."""

    def _caching(self, claims: Claims) -> CachingNamespace:
        trusted: Any = self.trusted
        self.answering = Answering(trusted, self.cache, claims, self.cache.listening(None))
        return CachingNamespace(trusted, self.cache, self.answering)

    @invariant()
    def nothing_was_otherwise(self) -> None:
        if hasattr(self, "answering"):
            assert self.answering.surprises == 0


def _run(examples: int, steps: int, machine: type[VfsMachine] = VfsMachine) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=PHASES,
        ),
    )


@pytest.mark.timeout(300)
def test_the_vfs_behaves_like_the_model() -> None:
    _run(25, 40)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_the_vfs_behaves_like_the_model_for_long() -> None:
    _run(600, 120)


@pytest.mark.timeout(300)
def test_a_sole_mount_behaves_like_the_model() -> None:
    _run(20, 40, SoleVfsMachine)


@pytest.mark.timeout(300)
def test_a_mount_that_answers_its_changes_behaves_like_the_model() -> None:
    _run(20, 40, AnsweringVfsMachine)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_mount_that_answers_its_changes_behaves_like_the_model_for_long() -> None:
    _run(400, 100, AnsweringVfsMachine)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_sole_mount_behaves_like_the_model_for_long() -> None:
    _run(400, 100, SoleVfsMachine)
