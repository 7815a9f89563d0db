"""Paths inside a volume, resolved without a mount."""

from __future__ import annotations

import stat
from typing import NamedTuple

from gravitonfs.core.ids import Ino
from gravitonfs.errors import Exists, Invalid, IsADirectory, Loop, NotADirectory, NotFound
from gravitonfs.ports.namespace import Namespace
from gravitonfs.ports.ops import Attr

_LINKS_MAX = 40


class Spot(NamedTuple):
    """Where a name is or would be. ``attr`` None: nothing there. The root has the name b''."""

    parent: Ino
    name: bytes
    attr: Attr | None


def show(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace") or "/"


def split(path: bytes) -> list[bytes]:
    """The components, with ``.`` and ``..`` taken out as text; the root is its own parent."""
    if b"\0" in path:
        raise Invalid(f"{show(path)!r} has a NUL byte, which no name can have")
    parts: list[bytes] = []
    for part in path.split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part not in (b"", b"."):
            parts.append(part)
    return parts


def locate(namespace: Namespace, path: bytes, *, follow: bool = False) -> Spot:
    """The spot of a path; symlinks on the way are followed, at the end only with ``follow``.

    Raises NotFound or NotADirectory when a component before the last is none.
    """
    parts = split(path)
    for _ in range(_LINKS_MAX):
        if not parts:
            return Spot(namespace.root, b"", namespace.attr(namespace.root))
        attrs = namespace.resolve(parts)
        at = _link_on_the_way(attrs, len(parts), follow)
        if at is None:
            return _spot(namespace, path, parts, attrs)
        target = namespace.readlink(attrs[at].ino)
        before = [] if target.startswith(b"/") else parts[:at]
        parts = split(b"/".join([*before, target, *parts[at + 1 :]]))
    raise Loop(f"{show(path)} goes through more than {_LINKS_MAX} symbolic links")


def existing(namespace: Namespace, path: bytes, *, follow: bool = False) -> Attr:
    """What is at a path; NotFound."""
    attr = locate(namespace, path, follow=follow).attr
    if attr is None:
        raise NotFound(f"{show(path)} does not exist in the volume")
    return attr


def directory(namespace: Namespace, path: bytes) -> Attr:
    attr = existing(namespace, path, follow=True)
    if not stat.S_ISDIR(attr.mode):
        raise NotADirectory(f"{show(path)} is no directory")
    return attr


def regular(namespace: Namespace, path: bytes) -> Attr:
    """The file at a path, through symlinks."""
    attr = existing(namespace, path, follow=True)
    if stat.S_ISDIR(attr.mode):
        raise IsADirectory(f"{show(path)} is a directory")
    if not stat.S_ISREG(attr.mode):
        raise Invalid(f"{show(path)} is no regular file, so it has no bytes")
    return attr


def free(spot: Spot, path: bytes) -> None:
    """Raise Exists unless nothing is at the spot."""
    if spot.attr is not None:
        raise Exists(f"{show(path)} exists already")


def _link_on_the_way(attrs: list[Attr], wanted: int, follow: bool) -> int | None:
    for at, attr in enumerate(attrs):
        if stat.S_ISLNK(attr.mode) and (follow or at < wanted - 1):
            return at
    return None


def _spot(namespace: Namespace, path: bytes, parts: list[bytes], attrs: list[Attr]) -> Spot:
    if len(attrs) < len(parts) - 1:
        missing = b"/" + b"/".join(parts[: len(attrs) + 1])
        if attrs and not stat.S_ISDIR(attrs[-1].mode):
            raise NotADirectory(f"{show(b'/' + b'/'.join(parts[: len(attrs)]))} is no directory")
        raise NotFound(f"{show(missing)} does not exist in the volume")
    parent = attrs[len(parts) - 2].ino if len(parts) > 1 else namespace.root
    if len(parts) > 1 and not stat.S_ISDIR(attrs[len(parts) - 2].mode):
        raise NotADirectory(f"{show(b'/' + b'/'.join(parts[:-1]))} is no directory")
    return Spot(parent, parts[-1], attrs[-1] if len(attrs) == len(parts) else None)
