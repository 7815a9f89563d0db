"""Contents of files: every way to write and to read them."""

from __future__ import annotations

import errno
import hashlib
import json
import mmap
import os
import random
import subprocess
from pathlib import Path

import pytest

from harness.refusals import refused

pytestmark = pytest.mark.mount

MIB = 1 << 20


def test_a_large_file_comes_back(here: Path) -> None:
    data = random.Random(1).randbytes(40 * MIB + 12345)
    (here / "f").write_bytes(data)
    assert (here / "f").stat().st_size == len(data)
    assert hashlib.sha256((here / "f").read_bytes()).digest() == hashlib.sha256(data).digest()


@pytest.mark.parametrize("step", [1, 4095, 65536, 1000003])
def test_small_and_odd_pieces(here: Path, step: int) -> None:
    data = random.Random(step).randbytes(min(step * 300, 5 * MIB))
    with open(here / "f", "wb", buffering=0) as file:
        for start in range(0, len(data), step):
            file.write(data[start : start + step])
            if start % (step * 50) == 0:
                os.fsync(file.fileno())
    assert (here / "f").read_bytes() == data


def test_holes_read_as_zeroes(here: Path) -> None:
    with open(here / "f", "wb") as file:
        file.seek(200 * MIB)
        file.write(b"end")
    with open(here / "f", "rb") as file:
        assert file.read(MIB) == bytes(MIB)
        file.seek(200 * MIB - 5)
        assert file.read() == bytes(5) + b"end"


def test_truncate_both_ways(here: Path) -> None:
    data = random.Random(2).randbytes(3 * MIB)
    path = here / "f"
    path.write_bytes(data)
    os.truncate(path, MIB + 17)
    assert path.read_bytes() == data[: MIB + 17]
    os.truncate(path, 2 * MIB)
    assert path.read_bytes() == data[: MIB + 17] + bytes(MIB - 17)
    with open(path, "r+b") as file:
        file.truncate(10)
        file.seek(0, os.SEEK_END)
        file.write(b"more")
        assert os.fstat(file.fileno()).st_size == 10
    assert path.read_bytes() == data[:10] + b"more"


def test_o_trunc_and_o_append(here: Path) -> None:
    path = here / "f"
    path.write_bytes(b"x" * 100_000)
    descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC)
    assert os.fstat(descriptor).st_size == 0
    os.write(descriptor, b"short")
    os.close(descriptor)
    assert path.read_bytes() == b"short"
    first, second = (os.open(path, os.O_WRONLY | os.O_APPEND) for _ in range(2))
    for i in range(50):
        os.write(first, b"1%02d" % i)
        os.write(second, b"2%02d" % i)
    os.close(first)
    os.close(second)
    expected = b"short" + b"".join(b"1%02d2%02d" % (i, i) for i in range(50))
    assert path.read_bytes() == expected


def test_what_one_handle_wrote_the_other_reads(here: Path) -> None:
    with open(here / "f", "w+b", buffering=0) as writer, open(here / "f", "rb", buffering=0) as reader:
        for i in range(20):
            piece = bytes([i]) * (1000 * i + 1)
            at = writer.seek(0, os.SEEK_END)
            writer.write(piece)
            reader.seek(at)
            assert reader.read(len(piece)) == piece
            assert os.stat(here / "f").st_size == at + len(piece)


def test_an_unlinked_open_file_lives_on(here: Path) -> None:
    descriptor = os.open(here / "f", os.O_RDWR | os.O_CREAT)
    os.write(descriptor, b"before")
    os.unlink(here / "f")
    os.write(descriptor, b" after")
    os.fsync(descriptor)
    assert os.pread(descriptor, 100, 0) == b"before after"
    assert os.fstat(descriptor).st_nlink == 0
    os.close(descriptor)
    assert os.listdir(here) == []


def test_mmap_reads_and_writes(here: Path) -> None:
    path = here / "f"
    path.write_bytes(bytes(3 * MIB))
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as view:
        view[MIB : MIB + 5] = b"hello"
        view[-1:] = b"!"
        view.flush()
    data = path.read_bytes()
    assert data[MIB : MIB + 5] == b"hello"
    assert data[-1:] == b"!"
    assert data.count(0) == 3 * MIB - 6


def test_random_writes_into_a_file_match_a_model(here: Path) -> None:
    rng = random.Random(5)
    model = bytearray(rng.randbytes(2 * MIB))
    path = here / "f"
    path.write_bytes(model)
    with open(path, "r+b", buffering=0) as file:
        for _ in range(400):
            at = rng.randrange(2 * MIB)
            piece = rng.randbytes(rng.choice([1, 100, 4096, 70_000]))
            file.seek(at)
            file.write(piece)
            if at > len(model):
                model.extend(bytes(at - len(model)))
            model[at : at + len(piece)] = piece
            if rng.random() < 0.05:
                os.fsync(file.fileno())
            if rng.random() < 0.1:
                start = rng.randrange(len(model))
                file.seek(start)
                assert file.read(5000) == bytes(model[start : start + 5000])
    assert path.read_bytes() == bytes(model)


def test_a_copy_written_to_leaves_the_original_alone(here: Path) -> None:
    data = random.Random(7).randbytes(2 * MIB)
    (here / "a").write_bytes(data)
    (here / "b").write_bytes(data)
    assert os.getxattr(here / "a", "user.graviton.digest") == os.getxattr(here / "b", "user.graviton.digest")
    with open(here / "b", "r+b") as file:
        file.seek(MIB)
        file.write(b"changed")
    assert (here / "a").read_bytes() == data
    assert (here / "b").read_bytes() == data[:MIB] + b"changed" + data[MIB + 7 :]
    with refused(errno.ENODATA):
        os.getxattr(here / "b", "user.graviton.digest")


def test_the_digest_is_the_blake3_of_the_bytes(here: Path) -> None:
    from blake3 import blake3

    data = random.Random(9).randbytes(10 * MIB + 1)
    (here / "f").write_bytes(data)
    expected = f"blake3:{blake3(data).hexdigest()}:{len(data)}"
    assert os.getxattr(here / "f", "user.graviton.digest").decode() == expected
    figures = json.loads(os.getxattr(here / "f", "user.graviton.stat"))
    assert figures["bytes"] == len(data)
    assert figures["extents"] == figures["blocks"] > 10
    assert figures["stored_bytes"] == len(data)  # incompressible
    (here / "zeroes").write_bytes(bytes(10 * MIB))
    figures = json.loads(os.getxattr(here / "zeroes", "user.graviton.stat"))
    assert figures["blocks"] == 1
    assert figures["stored_bytes"] < 10_000


def test_a_file_beyond_the_limit_is_efbig(here: Path) -> None:
    descriptor = os.open(here / "f", os.O_WRONLY | os.O_CREAT)
    try:
        with refused(errno.EFBIG, errno.EINVAL):
            os.ftruncate(descriptor, 1 << 50)
    finally:
        os.close(descriptor)


def test_statfs_tells_room(here: Path) -> None:
    info = os.statvfs(here)
    assert info.f_namemax == 255
    assert 0 < info.f_bavail <= info.f_blocks
    assert info.f_files > info.f_ffree > 0


def test_dd_with_direct_io(here: Path) -> None:
    data = random.Random(11).randbytes(4 * MIB)
    (here / "in").write_bytes(data)
    subprocess.run(
        ["dd", f"if={here}/in", f"of={here}/out", "bs=1M", "iflag=direct", "oflag=direct", "status=none"],
        check=True,
    )
    assert (here / "out").read_bytes() == data
