"""put and get: nothing is lost on the way, and what was interrupted goes on."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cli.conftest import Shell
from cli.inside import node_at
from cli.trees import look, make_tree
from graviton_server.cli.getting import part_name
from harness.programs import environment
from harness.waiting import wait_until


@pytest.fixture
def tree(volume: Shell) -> Path:
    return make_tree(volume.graviton.scratch / "tree")


def test_a_tree_comes_back_as_it_was(reached: Shell, tree: Path) -> None:
    scratch = reached.graviton.scratch
    told = reached.json("put", "-r", str(tree), reached.at("/a"))
    assert told["problems"] == []
    assert told["files"] == 46
    reached.run("get", "-r", reached.at("/a"), str(scratch / "back"))
    assert look(scratch / "back") == look(tree)
    assert (scratch / "back" / "sparse").stat().st_blocks * 512 < 1_000_000


def test_running_again_sends_only_what_changed(reached: Shell, tree: Path) -> None:
    scratch = reached.graviton.scratch
    reached.run("put", "-r", str(tree), reached.at("/a"))
    (tree / "sub" / "small-3").write_bytes(b"changed")
    (tree / "new").write_bytes(b"new")
    (tree / "text").chmod(0o600)
    told = reached.json("put", "-r", str(tree), reached.at("/a"))
    assert told["files"] == 2
    assert told["bytes"] == len(b"changed") + len(b"new")
    reached.run("get", "-r", reached.at("/a"), str(scratch / "back"))
    assert look(scratch / "back") == look(tree)

    (scratch / "back" / "sub" / "small-3").unlink()
    (scratch / "back" / "new").write_bytes(b"damaged here")
    told = reached.json("get", "-r", reached.at("/a"), str(scratch / "back"))
    assert told["files"] == 2
    assert look(scratch / "back") == look(tree)
    assert reached.json("put", "-r", "--again", str(tree), reached.at("/a"))["files"] == 47


def test_what_another_kind_stands_at_is_told(volume: Shell, tree: Path) -> None:
    volume.run("mkdir", "-p", volume.at("/a/big"), volume.at("/a/fifo"))
    volume.write("/a/sub", b"a file where a directory is to be")
    volume.write("/a/text", b"other")
    result = volume.graviton.run("put", "-r", tree, volume.at("/a"), status=1)
    lines = result.stderr.decode().splitlines()
    assert any("big" in line and "directory" in line for line in lines)
    assert any("fifo" in line and "directory" in line for line in lines)
    assert "failed; the others are done" in lines[-1]
    assert volume.read("/a/text") == (tree / "text").read_bytes()


def test_standard_input_and_output(reached: Shell) -> None:
    body = random.Random(7).randbytes(5 << 20)
    told = reached.result("put", "-", reached.at("/stream"), stdin=body)
    assert told.stdout == b""
    assert reached.result("get", reached.at("/stream"), "-").stdout == body
    assert reached.result("cat", reached.at("/stream"), reached.at("/stream")).stdout == body * 2
    reached.result("put", "-", reached.at("/nothing"), stdin=b"")
    assert reached.read("/nothing") == b""
    assert "stand alone" in reached.fails("put", "-", "x", reached.at("/"), status=2)


def test_where_files_go(reached: Shell) -> None:
    scratch = reached.graviton.scratch
    for name in ("f", "g"):
        (scratch / name).write_bytes(name.encode())
    (scratch / "d").mkdir()
    (scratch / "d" / "in").write_bytes(b"in")
    reached.run("put", "f", reached.at("/f2"))
    reached.run("put", "f", "g", reached.at("/"))
    reached.run("put", "-r", "d", reached.at("/d2"))
    reached.run("put", "-r", "d", reached.at("/d2"))  # again: the same, not d2/d
    reached.run("put", "-r", "d", reached.at("/d2/"))
    listed = [entry["path"] for entry in reached.json("ls", "-R", reached.at("/"))]
    assert listed == ["d2", "f", "f2", "g", "d2/d", "d2/in", "d2/d/in"]
    assert "-r" in reached.fails("put", "d", reached.at("/d3"))
    assert "does not exist" in reached.fails("put", "f", "g", reached.at("/missing"))
    assert "does not exist" in reached.fails("put", "f", reached.at("/missing/"))
    assert "no directory" in reached.fails("put", "f", "g", reached.at("/f2"))

    (scratch / "out").mkdir()
    reached.run("get", reached.at("/f"), reached.at("/g"), "out")
    reached.run("get", "-r", reached.at("/d2"), "out/")
    reached.run("get", "-r", reached.at("/d2"), "same")
    assert sorted(path.name for path in (scratch / "out").iterdir()) == ["d2", "f", "g"]
    assert (scratch / "same" / "in").read_bytes() == b"in"
    assert "-r" in reached.fails("get", reached.at("/d2"), "x")


def test_get_does_not_write_through_symlinks(volume: Shell) -> None:
    scratch = volume.graviton.scratch
    volume.run("mkdir", "-p", volume.at("/t/d"))
    volume.write("/t/d/f", b"must not get out")
    (scratch / "outside").mkdir()
    (scratch / "out").mkdir()
    (scratch / "out" / "d").symlink_to(scratch / "outside")
    assert "failed" in volume.fails("get", "-r", volume.at("/t"), "out")
    assert list((scratch / "outside").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_put_goes_on(volume: Shell, number: signal.Signals) -> None:
    """Ended in the middle, with and without a chance to clean up; then run again."""
    scratch = volume.graviton.scratch
    tree = scratch / "tree"
    tree.mkdir()
    r = random.Random(3)
    for name in range(60):
        (tree / f"file-{name:02}").write_bytes(r.randbytes(2 << 20))
    first = volume.graviton.start("put", "-r", tree, volume.at("/t"))
    wait_until(lambda: any((volume.data / "packs").rglob("*")), "some of it is stored")
    first.process.send_signal(number)
    assert first.process.wait(60) in (0, 130, -signal.SIGKILL)
    told = volume.json("put", "-r", str(tree), volume.at("/t"))
    assert told["files"] + told["skipped"] == 60
    volume.run("get", "-r", volume.at("/t"), str(scratch / "back"))
    assert look(scratch / "back") == look(tree)


def test_ctrl_c_ends_a_put_cleanly(volume: Shell) -> None:
    """In the middle of a stream: nothing of it appears, and the next command finds all in order."""
    volume.write("/before", b"kept")
    fifo = volume.graviton.scratch / "endless"
    os.mkfifo(fifo)
    command = f"exec {sys.executable} -m graviton_server put - {volume.at('/never')} < {fifo}"
    with subprocess.Popen(["bash", "-c", command], env=environment(), stderr=subprocess.PIPE) as put:
        with fifo.open("wb", buffering=0) as stream:
            stream.write(bytes(1 << 20))
            put.send_signal(signal.SIGINT)
            _, told = put.communicate(timeout=60)
    assert put.returncode == 130
    assert told.strip() == b"graviton: interrupted"
    assert volume.read("/before") == b"kept"
    assert [entry["name"] for entry in volume.json("ls", volume.at("/"))] == ["before"]


def test_a_part_of_a_file_is_completed(reached: Shell) -> None:
    scratch = reached.graviton.scratch
    body = random.Random(5).randbytes(6 << 20)
    reached.write("/f", body)
    (scratch / "out").mkdir()
    reached.run("get", reached.at("/f"), "out/f")
    (node,) = reached.json("stat", reached.at("/f"))
    shutil.move(scratch / "out" / "f", scratch / "whole")
    part = _part_name(reached, "f")
    (scratch / "out" / part).write_bytes(body[: 4 << 20])
    told = reached.json("get", reached.at("/f"), "out/f")
    assert told["bytes"] == node["size"]
    assert (scratch / "out" / "f").read_bytes() == body
    assert [path.name for path in (scratch / "out").iterdir()] == ["f"]

    (scratch / "out" / "f").unlink()
    (scratch / "out" / part).write_bytes(b"x" + body[1 : 4 << 20])
    assert "failed" in reached.fails("get", reached.at("/f"), "out/f")
    assert not (scratch / "out" / "f").exists()
    reached.run("get", reached.at("/f"), "out/f")
    assert (scratch / "out" / "f").read_bytes() == body


def _part_name(shell: Shell, name: str) -> str:
    """As an interrupted run names it."""
    return os.fsdecode(part_name(name.encode(), node_at(shell.data, name)))


def test_duplicates_cost_nothing(volume: Shell) -> None:
    scratch = volume.graviton.scratch
    (scratch / "f").write_bytes(random.Random(9).randbytes(4 << 20))
    volume.run("put", "f", volume.at("/one"))
    before = volume.json("info", str(volume.data))
    volume.run("put", "f", volume.at("/two"))
    after = volume.json("info", str(volume.data))
    assert after["logical_bytes"] == 2 * before["logical_bytes"]
    assert after["unique_bytes"] == before["unique_bytes"]
    assert after["stored_bytes"] - before["stored_bytes"] < before["stored_bytes"] // 100


def test_a_full_disk_is_told_and_loses_nothing(volume: Shell) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    small = volume.graviton.scratch / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "none", small], check=True)
    data = str(small / "data")
    r = random.Random(8)
    for name, size in (("fits", 20 << 20), ("does-not", 40 << 20)):
        (volume.graviton.scratch / name).write_bytes(r.randbytes(size))
    volume.run("init", data)
    volume.run("put", "fits", f"{data}:/fits")
    assert "free some space" in volume.fails("put", "does-not", f"{data}:/does-not")
    assert [entry["name"] for entry in volume.json("ls", f"{data}:/")] == ["fits"]
    assert volume.json("fsck", data, "--read-data")["clean"] is True
    volume.run("rm", f"{data}:/fits")
    volume.run("gc", data)
    volume.run("put", "fits", f"{data}:/again")
    assert volume.result("cat", f"{data}:/again").stdout == (volume.graviton.scratch / "fits").read_bytes()


def test_an_interrupted_get_goes_on(volume: Shell) -> None:
    scratch = volume.graviton.scratch
    body = random.Random(11).randbytes(48 << 20)
    volume.write("/f", body)
    owner = volume.graviton.start("webdav", volume.data, "--listen", "127.0.0.1:0")
    owner.ready_line()
    first = volume.graviton.start("get", volume.at("/f"), "out")
    try:
        wait_until(lambda: any(p.stat().st_size for p in scratch.glob(".out*")), "some of it is here")
    finally:
        first.kill()
    assert not (scratch / "out").exists() or (scratch / "out").read_bytes() == body
    volume.run("get", volume.at("/f"), "out")
    assert (scratch / "out").read_bytes() == body
    assert not list(scratch.glob(".out*"))
    assert owner.stop() == 0


@pytest.mark.parametrize("reached", ["through the owner"], indirect=True)
def test_many_large_attributes_and_links(reached: Shell) -> None:
    """Enough that both directions have to be cut into several messages by size."""
    scratch = reached.graviton.scratch
    tree = scratch / "tree"
    tree.mkdir()
    for number in range(1600):
        (tree / f"f{number}").write_bytes(b"")
        for name in ("user.a", "user.b"):
            os.setxattr(tree / f"f{number}", name, b"x" * 1500)
    for number in range(700):
        os.link(tree / "f0", tree / f"link{number}")
    told = reached.json("put", "-r", str(tree), reached.at("/t"))
    assert (told["files"], told["others"], told["problems"]) == (1600, 700, [])
    reached.run("get", "-r", reached.at("/t"), "back")
    assert look(scratch / "back") == look(tree)
    assert reached.json("put", "-r", str(tree), reached.at("/t"))["skipped"] == 1600


def test_pipes_links_and_devices_as_cp_treats_them(volume: Shell) -> None:
    scratch = volume.graviton.scratch
    (scratch / "real").write_bytes(b"real")
    (scratch / "link").symlink_to("real")
    volume.run("put", "link", volume.at("/followed"))
    volume.run("put", "-r", "link", volume.at("/kept"))
    kinds = {entry["name"]: entry["type"] for entry in volume.json("ls", volume.at("/"))}
    assert kinds == {"followed": "file", "kept": "symlink"}
    volume.result("put", "/dev/stdin", volume.at("/piped"), stdin=b"through a pipe")
    assert volume.read("/piped") == b"through a pipe"
    volume.run("mkdir", volume.at("/d"))
    volume.run("mv", volume.at("/kept"), volume.at("/d/kept"))
    volume.run("put", "real", volume.at("/d/real"))
    volume.run("get", volume.at("/d/kept"), "out")
    assert (scratch / "out").read_bytes() == b"real"
    assert not (scratch / "out").is_symlink()
    os.mkfifo(scratch / "pipe")
    with subprocess.Popen(["cat", "pipe"], cwd=scratch, stdout=subprocess.PIPE) as reader:
        volume.run("get", volume.at("/followed"), "pipe")
        assert reader.communicate(timeout=30)[0] == b"real"
    assert (scratch / "pipe").is_fifo()


def test_holes_stay_holes(reached: Shell) -> None:
    """A file of 200 GiB that has three runs of bytes: nowhere does it take more."""
    scratch = reached.graviton.scratch
    r = random.Random(12)
    runs = {0: r.randbytes(300_000), (5 << 30) + 4096: r.randbytes(3 << 20), 150 << 30: r.randbytes(9 << 20)}
    with (scratch / "disk").open("wb") as file:
        for at, body in runs.items():
            file.seek(at)
            file.write(body)
        file.truncate(200 << 30)
    reached.run("put", "disk", reached.at("/disk"))
    info = reached.json("info", str(reached.data))
    total = sum(map(len, runs.values()))
    assert info["logical_bytes"] == 200 << 30
    assert total <= info["unique_bytes"] < total + 3 * 4096
    reached.run("get", reached.at("/disk"), "back")
    back = scratch / "back"
    assert back.stat().st_size == 200 << 30
    assert back.stat().st_blocks * 512 < total + (1 << 20)
    with back.open("rb") as file:
        for at, body in runs.items():
            file.seek(at)
            assert file.read(len(body)) == body
            assert file.read(4096) == bytes(4096)


@pytest.mark.parametrize("reached", ["through the owner"], indirect=True)
def test_many_small_holes_and_cat(reached: Shell) -> None:
    """Holes of all sizes around the least that is kept; what does not know holes gets zeroes."""
    scratch = reached.graviton.scratch
    r = random.Random(13)
    with (scratch / "f").open("wb") as file:
        for _ in range(60):
            file.seek(r.choice([4096, 60 << 10, 64 << 10, 68 << 10, 1 << 20]), os.SEEK_CUR)
            file.write(r.randbytes(r.choice([1, 4096, 100_000])))
    reached.run("put", "f", reached.at("/f"))
    assert reached.read("/f") == (scratch / "f").read_bytes()
    reached.run("get", reached.at("/f"), "back")
    assert (scratch / "back").read_bytes() == (scratch / "f").read_bytes()
    reached.run("put", "--again", "f", reached.at("/f"))
    assert reached.read("/f") == (scratch / "f").read_bytes()
