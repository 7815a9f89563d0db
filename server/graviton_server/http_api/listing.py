"""A directory as JSON, in pieces: its size does not matter."""

from __future__ import annotations

import base64
import stat
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from graviton_webdav.paths import Path
from gravitonfs.core.ids import BlobId
from gravitonfs.errors import Invalid
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


def cursor(name: bytes) -> str:
    """Where a page ends, for the next one to begin behind: names are any bytes."""
    return base64.urlsafe_b64encode(name).decode()


def name_at(cursor: str) -> bytes:
    """Raises Invalid."""
    try:
        return base64.b64decode(cursor.encode("ascii"), altchars=b"-_", validate=True)
    except ValueError:
        raise Invalid("the parameter after is what an earlier page told as next") from None


class Listing:
    def __init__(self, namespace: Namespace, path: Path, attr: Attr) -> None:
        self._namespace = namespace
        self._path = path
        self._attr = attr

    def page(self, after: bytes | None, limit: int) -> bytes:
        """At most so many entries, and where to go on."""
        found = self._namespace.entries(self._attr.ino, after, limit + 1)
        entries = [described(entry.name, entry.attr, entry.digest) for entry in found[:limit]]
        following = cursor(found[limit - 1].name) if len(found) > limit else None
        return _encode(self._head() | {"entries": entries, "next": following})

    def _head(self) -> dict[str, str]:
        path = b"/" + b"/".join(self._path)
        return {"volume": self._namespace.volume, "type": "directory"} | _named("path", path)

    def pieces(self) -> Iterator[bytes]:
        yield _encode(self._head())[:-1] + b',"entries":['
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
