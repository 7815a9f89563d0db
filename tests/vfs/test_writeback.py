"""What is written and neither closed nor synced gets into the volume all the same."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from graviton_server.wiring import Engine, EngineOptions, create_embedded
from gravitonfs.content.volume import Volume
from gravitonfs.core.ids import ROOT_INO
from gravitonfs.vfs.files import FileHandle
from gravitonfs.vfs.vfs import Vfs
from gravitonfs.vfs.writeback import AFTER, WriteBack


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    create_embedded(tmp_path / "data")
    with Engine(tmp_path / "data", EngineOptions(memory=48 << 20, background=False)) as engine:
        yield engine


@pytest.fixture
def vfs(engine: Engine) -> Iterator[Vfs]:
    vfs = Vfs(engine.volume("mount"))
    yield vfs
    vfs.volume.close()


@pytest.fixture
def other(engine: Engine) -> Iterator[Volume]:
    """Another front end, which sees what is in the volume."""
    volume = engine.volume("other")
    yield volume
    volume.close()


def stored(other: Volume, name: bytes) -> bytes:
    attr = other.namespace.lookup(ROOT_INO, name)
    assert attr is not None
    return b"".join(map(bytes, other.reader(attr).stream(0, attr.size)))


async def opened(vfs: Vfs, name: bytes) -> FileHandle:
    handle, _ = await vfs.create(ROOT_INO, name, 0o644, 0, 0, os.O_RDWR)
    return handle


def test_bytes_are_stored_when_they_have_waited(vfs: Vfs, other: Volume) -> None:
    async def program() -> None:
        back = WriteBack(vfs.files)
        log = await opened(vfs, b"log")
        await vfs.write(log, 0, b"first line\n")
        await back.look(now=0.0)
        await back.look(now=AFTER - 1)
        assert stored(other, b"log") == b""
        await vfs.write(log, 11, b"second line\n")
        await back.look(now=AFTER)
        assert stored(other, b"log") == b"first line\nsecond line\n"
        await vfs.files.release(log)

    trio.run(program)


def test_a_file_that_was_stored_meanwhile_waits_anew(vfs: Vfs, other: Volume) -> None:
    async def program() -> None:
        back = WriteBack(vfs.files)
        log = await opened(vfs, b"log")
        await vfs.write(log, 0, b"first")
        await back.look(now=0.0)
        await vfs.fsync(log)
        await back.look(now=AFTER - 1)
        await vfs.write(log, 5, b" second")
        await back.look(now=AFTER)
        assert stored(other, b"log") == b"first"
        await back.look(now=2 * AFTER)
        assert stored(other, b"log") == b"first second"
        await vfs.files.release(log)

    trio.run(program)


def test_small_changes_inside_a_file_are_stored_too(vfs: Vfs, other: Volume) -> None:
    async def program() -> None:
        back = WriteBack(vfs.files)
        base = await opened(vfs, b"base")
        await vfs.write(base, 0, bytes(1 << 20))
        await vfs.fsync(base)
        await vfs.write(base, 4096, b"changed")
        await back.look(now=0.0)
        await back.look(now=AFTER)
        assert stored(other, b"base")[4096:4103] == b"changed"
        await vfs.files.release(base)

    trio.run(program)


def test_it_does_not_end_the_run_that_is_digested(vfs: Vfs, other: Volume) -> None:
    """A file written front to back is sealed at close although it was written back in between."""

    async def program() -> None:
        back = WriteBack(vfs.files)
        file = await opened(vfs, b"f")
        await vfs.write(file, 0, b"front ")
        await back.look(now=0.0)
        await back.look(now=AFTER)
        await vfs.write(file, 6, b"to back")
        await vfs.files.close(file.inode)
        await vfs.files.release(file)

    trio.run(program)
    assert stored(other, b"f") == b"front to back"
    attr = other.namespace.lookup(ROOT_INO, b"f")
    assert attr is not None
    assert other.namespace.content(attr.content).digest is not None
