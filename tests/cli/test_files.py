"""Names: ls, stat, cp, mv, rm, mkdir, cat; the same whoever has the volume open."""

from __future__ import annotations

import re

import pytest

from cli.conftest import Shell


def names(shell: Shell, path: str = "/") -> list[str]:
    return [entry["name"] for entry in shell.json("ls", shell.at(path))]


def test_write_read_list_remove(reached: Shell) -> None:
    reached.write("/a", b"first")
    reached.write("/a", b"second, longer")
    assert reached.read("/a") == b"second, longer"
    assert names(reached) == ["a"]
    reached.run("rm", reached.at("/a"))
    assert names(reached) == []


def test_stat_tells_everything(reached: Shell) -> None:
    reached.write("/a", b"hello\n")
    (node,) = reached.json("stat", reached.at("/a"))
    assert node["type"] == "file"
    assert node["size"] == 6
    assert node["nlink"] == 1
    assert node["mode"] == "0644"
    assert node["blob"] == "blake3:8e4c7c1b99dbfd50e7a95185fead5ee1448fa904a2fdd778eaf5f2dbfd629a99:6"
    assert (node["blocks"], node["extents"], node["stored_bytes"]) == (1, 1, 6)
    assert {"ino", "uid", "gid", "atime_ns", "mtime_ns", "ctime_ns", "btime_ns", "xattrs"} <= node.keys()
    shown = reached.run("stat", reached.at("/a"))
    assert "-rw-r--r--" in shown
    assert node["blob"] in shown


def test_long_and_recursive_listings(reached: Shell) -> None:
    reached.run("mkdir", "-p", reached.at("/x/y"))
    reached.write("/x/y/f", b"12345")
    listing = reached.run("ls", "-l", reached.at("/x/y"))
    assert re.fullmatch(r"-rw-r--r--  1  \d+  \d+  5  \d{4}-\d\d-\d\d \d\d:\d\d  f\n", listing)
    tree = reached.json("ls", "-R", reached.at("/"))
    assert [entry["path"] for entry in tree] == ["x", "x/y", "x/y/f"]
    assert names(reached, "/x/y/f") == ["f"]
    assert [e["name"] for e in reached.json("ls", "-d", reached.at("/x"))] == ["x"]


def test_copies_share_bytes_and_are_instant(reached: Shell) -> None:
    body = bytes(range(256)) * 20000
    reached.run("mkdir", reached.at("/t"), reached.at("/t/sub"))
    reached.write("/t/sub/f", body)
    before = reached.json("info", str(reached.data))
    reached.run("cp", "-r", reached.at("/t"), reached.at("/copy"))
    after = reached.json("info", str(reached.data))
    assert reached.read("/copy/sub/f") == body
    assert after["unique_bytes"] == before["unique_bytes"]
    assert after["logical_bytes"] == 2 * before["logical_bytes"]
    reached.run("cp", reached.at("/t/sub/f"), reached.at("/copy/"))
    assert names(reached, "/copy") == ["f", "sub"]
    reached.write("/t/sub/f", b"changed")
    assert reached.read("/copy/sub/f") == body


def test_copies_refuse_what_would_surprise(reached: Shell) -> None:
    reached.run("mkdir", reached.at("/d"))
    reached.write("/f", b"f")
    reached.write("/g", b"g")
    assert "-r" in reached.fails("cp", reached.at("/d"), reached.at("/e"))
    assert "exists" in reached.fails("cp", "-n", reached.at("/f"), reached.at("/g"))
    assert "same file" in reached.fails("cp", reached.at("/f"), reached.at("/f"))
    assert reached.fails("cp", "-r", reached.at("/d"), reached.at("/d/inside"))
    assert "does not exist" in reached.fails("cp", reached.at("/missing"), reached.at("/e"))
    assert reached.read("/g") == b"g"


def test_moves(reached: Shell) -> None:
    reached.run("mkdir", reached.at("/d"))
    reached.write("/f", b"f")
    reached.write("/g", b"g")
    assert "exists" in reached.fails("mv", "-n", reached.at("/f"), reached.at("/g"))
    reached.run("mv", reached.at("/f"), reached.at("/g"), reached.at("/d"))
    assert names(reached, "/d") == ["f", "g"]
    reached.run("mv", reached.at("/d/f"), reached.at("/d/g"))
    assert names(reached, "/d") == ["g"]
    assert reached.read("/d/g") == b"f"
    assert reached.fails("mv", reached.at("/d"), reached.at("/d/sub"))


def test_removing_a_tree(reached: Shell) -> None:
    reached.run("mkdir", "-p", reached.at("/t/a/b/c"))
    reached.write("/t/a/f", b"x")
    assert "-r" in reached.fails("rm", reached.at("/t"))
    reached.run("rm", "-r", reached.at("/t"))
    assert names(reached) == []
    assert "does not exist" in reached.fails("rm", reached.at("/t"))
    reached.run("rm", "-f", reached.at("/t"))
    assert "root" in reached.fails("rm", "-r", reached.at("/"))


def test_directories(reached: Shell) -> None:
    assert "does not exist" in reached.fails("mkdir", reached.at("/a/b"))
    reached.run("mkdir", "-p", reached.at("/a/b"))
    reached.run("mkdir", "-p", reached.at("/a/b"))
    assert "exists" in reached.fails("mkdir", reached.at("/a"))
    reached.write("/f", b"")
    assert "no directory" in reached.fails("mkdir", "-p", reached.at("/f/g"))


def test_paths_are_cleaned_and_cannot_leave_the_volume(reached: Shell) -> None:
    reached.run("mkdir", reached.at("/a"))
    reached.write("/a/../../../b", b"inside")
    assert names(reached) == ["a", "b"]
    assert reached.read("//a/.././b") == b"inside"


def test_symlinks_are_followed_on_the_way(volume: Shell) -> None:
    tree = volume.graviton.scratch / "tree"
    (tree / "real").mkdir(parents=True)
    (tree / "real" / "f").write_bytes(b"found")
    (tree / "link").symlink_to("real")
    (tree / "absolute").symlink_to("/tree/real")
    (tree / "loop").symlink_to("loop")
    volume.run("put", "-r", str(tree), volume.at("/tree"))
    assert volume.read("/tree/link/f") == b"found"
    assert volume.read("/tree/absolute/f") == b"found"
    assert volume.json("stat", volume.at("/tree/link"))[0]["target"] == "real"
    assert volume.json("stat", "-L", volume.at("/tree/link"))[0]["type"] == "directory"
    assert "symbolic links" in volume.fails("cat", volume.at("/tree/loop"))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["cat", "{}/"], "is a directory"),
        (["cat", "{}/missing"], "/missing does not exist in the volume"),
        (["ls", "{}/missing"], "/missing does not exist in the volume"),
        (["ls", "{}/missing/deeper"], "/missing does not exist in the volume"),
        (["mkdir", "{}/" + "n" * 256], "name"),
        (["put", "/nonexistent-file", "{}/x"], "/nonexistent-file"),
        (["get", "{}/missing", "x"], "/missing does not exist in the volume"),
        (["get", "-r", "{}/", "no/such/place"], "does not exist"),
        (["mv", "{}/", "{}/x"], "root"),
    ],
)
def test_mistakes_get_one_sentence(volume: Shell, arguments: list[str], sentence: str) -> None:
    told = volume.fails(*[a.format(f"{volume.data}:") for a in arguments])
    assert told.startswith("graviton: ")
    assert sentence in told


def test_places_that_are_no_volume(volume: Shell) -> None:
    scratch = volume.graviton.scratch
    for command in (
        ["ls", "nowhere:/"],
        ["info", "nowhere"],
        ["mount", "nowhere", "m"],
        ["webdav", "nowhere"],
    ):
        told = volume.fails(*command)
        assert "is no volume" in told
        assert "graviton init" in told
    assert not (scratch / "nowhere").exists()
    assert "not in a volume" in volume.fails("ls", str(scratch))
    assert "is a volume already" in volume.fails("init", str(volume.data))
    (scratch / "full").mkdir()
    (scratch / "full" / "letter.txt").write_text("mine")
    assert "not empty" in volume.fails("init", str(scratch / "full"))
    assert "no directory" in volume.fails("init", str(scratch / "full" / "letter.txt"))


def test_mistakes_that_had_odd_answers(volume: Shell) -> None:
    scratch = volume.graviton.scratch
    volume.run("mkdir", volume.at("/d"))
    assert "'d' cannot move below itself" in volume.fails("mv", volume.at("/d"), volume.at("/d/e"))
    assert "does not exist: make the directory" in volume.fails("dump", str(volume.data), "no/such/dump")
    assert "is a directory" in volume.fails("dump", str(volume.data), ".")
    for command in ("stats", "profile"):
        assert "is no volume" in volume.fails(command, "nowhere")
        assert "no process has" in volume.fails(command, str(volume.data))
    (scratch / "no dump").write_text("text")
    volume.fails("load", "fresh", "no dump")
    assert not (scratch / "fresh").exists()
    assert "at least 1 MiB" in volume.fails("bench", ".", "--size", "0", status=2)


def test_two_volumes_in_one_copy(volume: Shell) -> None:
    volume.run("init", "other")
    volume.write("/f", b"f")
    assert "one volume" in volume.fails("cp", volume.at("/f"), "other:/f")
    assert "one volume" in volume.fails("mv", volume.at("/f"), "other:/f")


def test_format_parameters(volume: Shell) -> None:
    created = volume.json("init", "small", "--block-min", "4KiB", "--block-average", "16KiB",
                          "--block-max", "64KiB", "--max-file-size", "1MiB")  # fmt: skip
    assert created["format"]["block_max"] == 65536
    told = volume.fails("put", "-", "small:/f", stdin=bytes((1 << 20) + 1))
    assert "at most 1048576 bytes" in told
    assert volume.json("ls", "small:/") == []
    assert "block sizes" in volume.fails("init", "odd", "--block-min", "2MiB", status=2)
