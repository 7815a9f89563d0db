"""What a user means by SOURCE and PATH."""

from __future__ import annotations

import errno
import json
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import click

from gravitonfs.errors import Invalid, ReadOnly, Unavailable

MOUNT_XATTR = "user.graviton.mount"
_STDIO = "-"
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://")


class Place(NamedTuple):
    """A path in a volume. ``shown`` is how the user wrote it; ``read_only``: in a mount that is."""

    data: Path
    path: bytes
    shown: str
    read_only: bool = False


def join(directory: bytes, name: bytes) -> bytes:
    return directory.rstrip(b"/") + b"/" + name


def is_remote(text: str) -> bool:
    """The volume of a daemon."""
    return text.startswith(("graviton://", "gravitons://"))


def source(text: str) -> Path:
    """A data directory; it is looked into only when it is opened."""
    if is_remote(text):
        raise click.UsageError(f"{text} is a daemon's volume: this command works on the volume's directory")
    found = _SCHEME.match(text)
    if found:
        raise click.UsageError(f"{found[0]} is not known: a SOURCE is the data directory of a volume")
    return Path(os.path.abspath(text))


def source_of(text: str) -> Path:
    """A data directory, or that of the mount which a path is in."""
    source(text)
    inside = _in_mount(text)
    return source(text) if inside is None else inside.data


def place(text: str) -> Place:
    """``DATA:/path`` or a path inside a mount; Invalid when it is neither."""
    found = parse(text)
    if found is None:
        raise Invalid(f"{text} is not in a volume: write DATA:/path, or a path inside a mount")
    return found


def place_to_change(text: str) -> Place:
    """As ``place``; a read-only mount stays so, although the process behind it could write."""
    found = place(text)
    if found.read_only:
        raise ReadOnly(f"{text} is in a mount that is read-only")
    return found


def parse(text: str) -> Place | None:
    """None: an ordinary local path."""
    if _SCHEME.match(text):
        source(text)
    data, separator, path = text.partition(":/")
    if separator and data:
        return Place(source(data), b"/" + os.fsencode(path), text)
    if text == _STDIO:
        return None
    return _in_mount(text)


def _in_mount(text: str) -> Place | None:
    """The mount says which volume it shows, through an extended attribute of its root."""
    path = _resolved(text)
    mountpoint = _mountpoint(path)
    told = mount_of(mountpoint)
    if told is None:
        return None
    if "data" not in told:
        raise Invalid(
            f"{text} is in a mount of {told['source']}: this command works on the volume's directory"
        )
    below = os.path.relpath(path, mountpoint)
    inner = os.path.join("/", str(told.get("subdir", "")), "" if below == "." else below)
    if text.endswith("/"):
        inner += "/"
    return Place(Path(told["data"]), os.fsencode(inner), text, bool(told.get("read_only")))


def remote_mount(text: str) -> str | None:
    """The mount point where ``text`` is in a mount of a daemon's volume."""
    if _SCHEME.match(text):
        return None
    mountpoint = _mountpoint(_resolved(text))
    told = mount_of(mountpoint)
    return mountpoint if told is not None and "data" not in told else None


def path_below(text: str, mountpoint: str) -> bytes:
    """A path in a mount, as one of its volume."""
    told = mount_of(mountpoint) or {}
    below = os.path.relpath(_resolved(text), mountpoint)
    return os.fsencode(os.path.join("/", str(told.get("subdir", "")), "" if below == "." else below))


def _mountpoint(path: str) -> str:
    _refuse_dead(path)
    while not os.path.ismount(path):
        path = os.path.dirname(path)
    return path


def _refuse_dead(path: str) -> None:
    """What a mount leaves whose process died can neither be used nor recognized as a mount."""
    try:
        os.lstat(path)
    except OSError as error:
        if error.errno == errno.ENOTCONN:
            raise Unavailable(
                f"the process that served {path} is gone: mount it again, or 'graviton umount' the directory"
            ) from error


def _resolved(text: str) -> str:
    """Absolute, with symlinks followed except a last one, and mount points kept as they are."""
    path = os.path.abspath(text)
    if os.path.ismount(path):
        return os.path.realpath(path)
    directory, name = os.path.split(path)
    return os.path.join(os.path.realpath(directory), name)


def mount_of(mountpoint: str) -> dict[str, Any] | None:
    """What the process behind a mount says of it; None where it is no mount of ours."""
    try:
        told = json.loads(os.getxattr(mountpoint, MOUNT_XATTR))
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) and told.keys() & {"data", "source"} else None
