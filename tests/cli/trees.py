"""A local tree with everything a transfer must keep, and a way to compare two."""

from __future__ import annotations

import os
import random
import stat
from pathlib import Path
from typing import NamedTuple


class Seen(NamedTuple):
    """What one name looks like; ``links``: the names that are the same inode."""

    mode: int
    uid: int
    gid: int
    mtime_ns: int
    rdev: int
    body: bytes
    xattrs: tuple[tuple[str, bytes], ...]
    links: tuple[bytes, ...]


def make_tree(root: Path, seed: int = 0) -> Path:
    """Odd names, hard links, symlinks, a hole, set-id and sticky bits, attributes, old times."""
    r = random.Random(seed)
    (root / "sub" / "deep dir").mkdir(parents=True)
    (root / "empty dir").mkdir()
    (root / "big").write_bytes(r.randbytes(3_000_000))
    (root / "text").write_bytes(b"many words, " * 50_000)
    (root / "empty").write_bytes(b"")
    for number in range(40):
        (root / "sub" / f"small-{number}").write_bytes(r.randbytes(r.randrange(3000)))
    odd = os.path.join(os.fsencode(root / "sub"), b"\xff\xfe odd\nname 'x' \xf0\x9f\x90\x98")
    with open(odd, "wb") as file:
        file.write(b"odd")
    (root / ("n" * 255)).write_bytes(b"long name")
    with (root / "sparse").open("wb") as file:
        file.seek(20_000_000)
        file.write(b"in the middle")
        file.truncate(30_000_000)
    os.link(root / "big", root / "sub" / "hard")
    os.link(root / "empty", root / "sub" / "hard empty")
    os.symlink("../text", root / "sub" / "sym")
    os.symlink(b"dangling \xff", os.fsencode(root / "dangling"))
    os.mkfifo(root / "fifo", 0o640)
    (root / "text").chmod(0o4751)
    (root / "sub" / "deep dir").chmod(0o1711)
    os.setxattr(root / "text", "user.colour", b"red\0\xff")
    os.setxattr(root / "sub", "user.kind", b"directory")
    if os.geteuid() == 0:
        os.chown(root / "sub" / "small-0", 1234, 4321)
    os.utime(root / "sub" / "small-1", ns=(10**18 + 1, 10**18 + 7))
    os.utime(root / "dangling", ns=(3, 10**17 + 9), follow_symlinks=False)
    for directory in ("sub/deep dir", "empty dir", "sub", "."):
        os.utime(root / directory, ns=(5, 10**17 + len(directory)))
    return root


def look(root: Path) -> dict[bytes, Seen]:
    """All of a tree, by path from its root."""
    top = os.fsencode(root)
    found: dict[bytes, os.stat_result] = {}
    groups: dict[int, list[bytes]] = {}
    for directory, below, files in os.walk(top):
        for path in [directory, *(os.path.join(directory, name) for name in [*files, *below])]:
            name = os.path.relpath(path, top)
            if name not in found:
                found[name] = os.lstat(path)
                groups.setdefault(found[name].st_ino, []).append(name)
    return {name: _seen(os.path.join(top, name), info, groups) for name, info in found.items()}


def _seen(path: bytes, info: os.stat_result, groups: dict[int, list[bytes]]) -> Seen:
    body = b""
    if stat.S_ISREG(info.st_mode):
        with open(path, "rb") as file:
            body = file.read()
    elif stat.S_ISLNK(info.st_mode):
        body = os.readlink(path)
    names = os.listxattr(path, follow_symlinks=False)
    xattrs = tuple((name, os.getxattr(path, name, follow_symlinks=False)) for name in sorted(names))
    links = () if stat.S_ISDIR(info.st_mode) else tuple(sorted(groups[info.st_ino]))
    return Seen(info.st_mode, info.st_uid, info.st_gid, info.st_mtime_ns, info.st_rdev, body, xattrs, links)
