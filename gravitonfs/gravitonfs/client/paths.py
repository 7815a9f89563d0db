"""Paths in a volume, as programs write them: text, separated by slashes, from the root."""

from __future__ import annotations

import os
import stat

from gravitonfs.content.volume import Volume
from gravitonfs.core.ids import Ino
from gravitonfs.errors import Invalid, Loop, NotADirectory, NotFound
from gravitonfs.ports.namespace import Namespace
from gravitonfs.ports.ops import Attr

_LINKS_MAX = 40


def names_of(path: str) -> list[bytes]:
    """``.`` and empty names are nothing, ``..`` is refused: nothing here has a working directory."""
    names = [os.fsencode(name) for name in path.split("/") if name not in ("", ".")]
    if b".." in names:
        raise Invalid(f"{path!r} has '..' in it")
    return names


def find(namespace: Namespace, path: str, *, follow: bool = True) -> Attr:
    """Symlinks on the way are followed, and the last too with ``follow``. NotFound, NotADirectory, Loop."""
    names = names_of(path)
    at, budget = namespace.attr(namespace.root), _LINKS_MAX
    above: list[Attr] = []
    while names:
        steps = namespace.resolve(names, at.ino)
        walked = 0
        for step in steps:
            walked += 1
            if stat.S_ISLNK(step.mode) and (follow or walked < len(names)):
                break
            above.append(at)
            at = step
        else:
            if len(steps) < len(names):
                _lacking(path, at)
            return at
        budget -= 1
        if not budget:
            raise Loop(f"{path!r} has too many symlinks on its way")
        target = namespace.readlink(steps[walked - 1].ino)
        names = [*_of_link(target), *names[walked:]]
        if target.startswith(b"/"):
            at, above = namespace.attr(namespace.root), []
        while names and names[0] == b"..":
            at = above.pop() if above else at
            names.pop(0)
    return at


def _of_link(target: bytes) -> list[bytes]:
    names: list[bytes] = []
    for name in target.split(b"/"):
        if name == b".." and names and names[-1] != b"..":
            names.pop()
        elif name not in (b"", b"."):
            names.append(name)
    return names


def _lacking(path: str, at: Attr) -> None:
    if not stat.S_ISDIR(at.mode):
        raise NotADirectory(f"something on the way to {path!r} is no directory")
    raise NotFound(f"there is no {path!r}")


def parent_and_name(volume: Volume, path: str) -> tuple[Ino, bytes]:
    """The directory that has, or would have, the last name."""
    names = names_of(path)
    if not names:
        raise Invalid("the root is no file")
    directory = "/".join(os.fsdecode(name) for name in names[:-1])
    parent = find(volume.namespace, directory)
    if not stat.S_ISDIR(parent.mode):
        raise NotADirectory(f"{directory!r} is no directory")
    return parent.ino, names[-1]
