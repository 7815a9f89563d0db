"""A directory as JSON, in pieces: its size does not matter."""

from __future__ import annotations

import base64
import stat
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from graviton_webdav.paths import Path
from gravitonfs.core.ids import BlobId
from gravitonfs.ports.namespace import Namespace
from gravitonfs.ports.ops import Attr

_PAGE: Final = 500
_encode = msgspec.json.Encoder().encode
_TYPES: Final = {
    stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink", stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket", stat.S_IFCHR: "character-device", stat.S_IFBLK: "block-device",
}  # fmt: skip


def described(name: bytes, attr: Attr, digest: bytes | None) -> dict[str, Any]:
    """One entry. ``blob`` is the id of a sealed file's bytes."""
    found: dict[str, Any] = _named("name", name)
    found |= {
        "type": _TYPES.get(stat.S_IFMT(attr.mode), "other"),
        "size": attr.size,
        "mode": f"{stat.S_IMODE(attr.mode):04o}",
        "uid": attr.uid,
        "gid": attr.gid,
        "links": attr.nlink,
        "mtime_ns": attr.mtime_ns,
        "ctime_ns": attr.ctime_ns,
        "blob": None if digest is None else str(BlobId(digest, attr.size)),
    }
    return found


def _named(key: str, name: bytes) -> dict[str, Any]:
    """As text, and exactly where the text cannot say it."""
    try:
        return {key: name.decode()}
    except UnicodeDecodeError:
        return {key: name.decode(errors="replace"), f"{key}_base64": base64.b64encode(name).decode()}


class Listing:
    def __init__(self, namespace: Namespace, path: Path, attr: Attr) -> None:
        self._namespace = namespace
        self._path = path
        self._attr = attr

    def pieces(self) -> Iterator[bytes]:
        path = b"/" + b"/".join(self._path)
        head = {"volume": self._namespace.volume, "type": "directory"} | _named("path", path)
        yield _encode(head)[:-1] + b',"entries":['
        after: bytes | None = None
        comma = b""
        while True:
            page = self._namespace.entries(self._attr.ino, after, _PAGE)
            if page:
                entries = [described(entry.name, entry.attr, entry.digest) for entry in page]
                yield comma + _encode(entries)[1:-1]
                comma, after = b",", page[-1].name
            if len(page) < _PAGE:
                break
        yield b"]}"
