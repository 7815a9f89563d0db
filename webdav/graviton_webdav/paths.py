"""URLs and names. Names are bytes of any encoding; only ``/`` and NUL cannot be in them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypeAlias
from urllib.parse import quote_from_bytes, unquote_to_bytes, urlsplit

from graviton_webdav.faults import Refused
from gravitonfs.core.ids import NAME_MAX

Path: TypeAlias = tuple[bytes, ...]
"""Names from the volume's root down; empty for the root."""

_SAFE = "!$'()*+,;=:@-._~"
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_MAX_DEPTH = 1024


def parse_target(target: bytes) -> tuple[Path, bool]:
    """The path that a request target names, and whether it ended with a slash.

    Escapes are decoded once, after the split, so an escaped slash stays inside a name, where none may
    be. ``..`` is refused instead of followed: a client resolves it before it sends.
    """
    raw = target.split(b"?", 1)[0]
    if b"#" in raw:
        raise Refused(400, "a request target has no fragment")
    if _BAD_ESCAPE.search(raw):
        raise Refused(400, "the request target has a malformed escape")
    if not raw.startswith(b"/"):
        raise Refused(400, "the request target must begin with a slash")
    path = tuple(unquote_to_bytes(part) for part in raw.split(b"/") if part and part != b".")
    check_names(path)
    return path, raw.endswith(b"/")


def check_names(path: Path) -> None:
    """Refuse names that no volume has: 400 for what only an attacker sends, 414 beyond all measure."""
    if len(path) > _MAX_DEPTH:
        raise Refused(414, f"paths have at most {_MAX_DEPTH} names")
    for name in path:
        if b"/" in name or b"\0" in name or name in (b"..", b"."):
            raise Refused(400, "a name must not be '.' or '..' nor contain a slash or NUL")
        if len(name) > NAME_MAX:
            raise Refused(400, f"a name has at most {NAME_MAX} bytes")


def parse_reference(reference: str, authorities: Iterable[str]) -> tuple[Path, bool]:
    """The path that a ``Destination`` or an ``If`` tag names: an absolute path, or a URL of this server.

    ``authorities`` are the names under which the request may have reached it. Anything else is 502, as
    RFC 4918 wants for a destination on another server.
    """
    try:
        parts = urlsplit(reference.strip())
    except ValueError:
        raise Refused(400, "the URL cannot be read") from None
    if parts.scheme or parts.netloc:
        if parts.scheme not in ("", "http", "https"):
            raise Refused(502, f"the scheme {parts.scheme!r} is not served here")
        known = {_authority(name) for name in authorities}
        if _authority(parts.netloc) not in known:
            raise Refused(502, "the destination is on another server")
    target = reference.strip()
    if parts.netloc:
        target = target.split(parts.netloc, 1)[1] or "/"
    # Some clients (older Finder, DAVExplorer) send the path unescaped; header values are bytes.
    return parse_target(target.split("#", 1)[0].encode("latin-1", "replace"))


def _authority(netloc: str) -> str:
    host = netloc.rsplit("@", 1)[-1].lower()
    for port in (":80", ":443"):
        host = host.removesuffix(port)
    return host


def href(path: Path, *, collection: bool = False) -> str:
    """The URL path of a resource, every byte that needs it escaped; collections end with a slash."""
    if not path:
        return "/"
    text = "/" + "/".join(quote_from_bytes(name, _SAFE) for name in path)
    return text + "/" if collection else text


def href_name(name: bytes) -> str:
    return quote_from_bytes(name, _SAFE)


def display(name: bytes) -> str:
    """A name for people; what is not UTF-8 or no XML character is replaced."""
    return _NO_XML.sub("\ufffd", name.decode("utf-8", "replace"))


_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
