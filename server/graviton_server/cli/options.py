"""The options of ``mount -o``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from gravitonfs.core.snapshots import DIRECTORY, check_name
from gravitonfs.core.units import parse_duration, parse_size
from gravitonfs.errors import Invalid

if TYPE_CHECKING:
    from graviton_server.maintenance.backups import Plan
    from graviton_server.maintenance.snapshotting import Kept
    from gravitonfs.content.diskcache.cache import CacheSettings


class Choices(NamedTuple):
    """What was asked for; None: the default. Sizes in bytes, limits in bytes a second."""

    ro: bool = False
    allow_other: bool = False
    noexec: bool = False
    nosuid: bool = False
    nodev: bool = False
    subdir: str = ""
    snapshot: str | None = None
    """Then it is read-only, and ``subdir`` lies in the snapshot."""
    uid: int | None = None
    gid: int | None = None
    umask: int | None = None
    cache_dir: Path | None = None
    """What a mount keeps on the local disk: blocks, and its journal."""
    cache_size: int | None = None
    """Of blocks there; 0: none."""
    cache_reserve: int | None = None
    """Bytes of that disk that blocks leave free."""
    disk_cache: CacheSettings | None = None
    """What became of the three, where there is to be a cache of blocks."""
    memory: int | None = None
    timeout: float = 60.0
    drain_timeout: float = 300.0
    """How long a mount that is told to end may store what is left."""
    mounter: Path | None = None
    """The socket of who mounts for it."""
    upload_limit: int | None = None
    download_limit: int | None = None
    metrics: tuple[str, int] | None = None
    collect_rest: float | None = None
    """Seconds between two collections, at least."""
    upkeep_rate: int | None = None
    """Bytes a second that background work may read."""
    grace: float | None = None
    """Seconds that a condemned pack stays."""
    keep: float | None = None
    """Packs younger than so many seconds are not collected."""
    history_interval: float | None = None
    """Seconds between two notes of the usage."""
    snapshots: Kept | None = None
    """Those that the clock makes."""
    trash: tuple[int, float] | None = None
    """Days for which it is kept, and the age in seconds that takes."""
    backup: Plan | None = None
    """Dumps on the targets."""
    max_file_size: int | None = None
    token_file: Path | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    durability: str = "store"
    """What ``fsync`` waits for: the store, or with "local" the mount's own journal."""
    journal_size: int | None = None

    def of_daemons(self) -> list[str]:
        """Those given that have a meaning for a daemon's volume only."""
        names = ("token_file", "ca_file", "cert_file", "key_file")
        return [name.replace("_", "-") for name in names if getattr(self, name) is not None]

    def of_mounts(self) -> list[str]:
        """Those given that have no meaning for a gateway."""
        return [
            name.rstrip("=")
            for name in _OF_MOUNTS
            if getattr(self, field := name.rstrip("=").replace("-", "_")) != self._field_defaults[field]
        ]

    @property
    def restrictions(self) -> tuple[str, ...]:
        """What the kernel does not allow in the mount."""
        return tuple(name for name in _RESTRICTIONS if getattr(self, name))

    @property
    def local(self) -> bool:
        """``fsync`` is answered by the local journal."""
        return self.durability == "local"


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"{text!r} is no number")
    return int(text)


def _size(text: str) -> int:
    return 0 if text in ("0", "off") else _positive_size(text)


def _octal(text: str) -> int:
    try:
        value = int(text, 8)
    except ValueError:
        value = -1
    if not 0 <= value <= 0o777:
        raise ValueError(f"{text!r} is no octal mask such as 022")
    return value


def _positive_size(text: str) -> int:
    size = parse_size(text.removesuffix("/s"))
    if size <= 0:
        raise ValueError(f"{text!r} is not more than nothing")
    return size


def _address(text: str) -> tuple[str, int]:
    from graviton_server.cli.params import ADDRESS

    host, port = ADDRESS.convert(text, None, None)
    return host, port


def _file(text: str) -> Path:
    """Absolute, as a process in the background has another current directory."""
    path = Path(text).absolute()
    if not path.is_file():
        raise ValueError(f"there is no file {text}")
    return path


def _durability(text: str) -> str:
    if text not in ("store", "local"):
        raise ValueError(f"{text!r} is neither store nor local")
    return text


def _snapshot(text: str) -> str:
    check_name(text)
    return text


def _directory(text: str) -> Path:
    return Path(os.path.expanduser(text)).absolute()


_RESTRICTIONS = ("noexec", "nosuid", "nodev")
_FLAGS = {
    "ro": {"ro": True},
    "rw": {"ro": False},
    "allow_other": {"allow_other": True},
    **{name: {name: True} for name in _RESTRICTIONS},
}
_VALUES: dict[str, Callable[[str], Any]] = {
    "subdir": str,
    "snapshot": _snapshot,
    "uid": _whole,
    "gid": _whole,
    "umask": _octal,
    "cache-dir": _directory,
    "cache-size": _size,
    "cache-reserve": _size,
    "memory": _positive_size,
    "timeout": parse_duration,
    "drain-timeout": parse_duration,
    "mounter": _directory,
    "upload-limit": _positive_size,
    "download-limit": _positive_size,
    "metrics": _address,
    "token-file": _file,
    "ca-file": _file,
    "cert-file": _file,
    "key-file": _file,
    "durability": _durability,
    "journal-size": _positive_size,
}
NAMES = (*_FLAGS, *(f"{name}=" for name in _VALUES))
_OF_MOUNTS = (
    "allow_other", *_RESTRICTIONS, "subdir=", "snapshot=", "uid=", "gid=", "umask=", "durability=",
    "journal-size=", "drain-timeout=", "mounter=",
)  # fmt: skip
GATEWAY_NAMES = tuple(name for name in NAMES if name not in _OF_MOUNTS)


def parse(texts: Iterable[str]) -> Choices:
    """``-o a,b=c -o d``; raises a usage error that names the option."""
    fields: dict[str, Any] = {}
    for option in (part for text in texts for part in text.split(",") if part):
        name, equals, value = option.partition("=")
        if name in _FLAGS and not equals:
            fields |= _FLAGS[name]
        elif name in _VALUES and equals and value:
            fields[name.replace("-", "_")] = _value(name, value)
        elif name in _VALUES:
            raise click.UsageError(f"the mount option {name} needs a value: {name}=...")
        elif name in _FLAGS:
            raise click.UsageError(f"the mount option {name} takes no value")
        else:
            raise click.UsageError(f"unknown mount option {name!r}; there are: {', '.join(NAMES)}")
    if "snapshot" in fields:
        if fields.get("ro") is False:
            raise click.UsageError("rw: a snapshot can only be read")
        inside = fields.get("subdir", "").strip("/")
        fields |= {"ro": True, "subdir": f"{DIRECTORY.decode()}/{fields['snapshot']}/{inside}"}
    return Choices(**fields)


def _value(name: str, value: str) -> Any:
    try:
        return _VALUES[name](value)
    except (Invalid, ValueError, click.BadParameter) as error:
        raise click.UsageError(f"mount option {name}: {error}") from error
