"""Properties that the server computes, each from what one directory query has brought."""

from __future__ import annotations

import stat
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

from graviton_webdav.content_types import content_type
from graviton_webdav.dates import http_date, iso_date
from graviton_webdav.locks import Lock
from graviton_webdav.paths import display, href
from gravitonfs.ports.ops import Attr

DAV = "{DAV:}"
APACHE = "{http://apache.org/dav/props/}"
_XML = "http://www.w3.org/XML/1998/namespace"
WIN32_MODIFIED = "{urn:schemas-microsoft-com:}Win32LastModifiedTime"
"""What Windows sets after it has written a file; its other times and attributes are dead properties."""


class Shown(NamedTuple):
    """One resource of an answer. ``etag`` is quoted and empty for collections."""

    href: str
    name: bytes
    attr: Attr
    etag: str
    collection: bool
    locks: Sequence[Lock]


class Quota(NamedTuple):
    """Bytes, of the volume; None where nobody knows."""

    available: int | None
    used: int


class Property(NamedTuple):
    """``render`` gives the content of the element as XML, or None where the resource has no such thing."""

    tag: str
    open: str
    close: str
    empty: str
    render: Callable[[Shown], str | None]


def text(value: str) -> str:
    return escape(value, quote=False)


def _creationdate(shown: Shown) -> str:
    return iso_date(shown.attr.btime_ns)


def _displayname(shown: Shown) -> str:
    return text(display(shown.name)) if shown.name else "/"


def _length(shown: Shown) -> str | None:
    return None if shown.collection else str(shown.attr.size)


def _type(shown: Shown) -> str | None:
    return None if shown.collection else content_type(shown.name)


def _etag(shown: Shown) -> str | None:
    return None if shown.collection else shown.etag


def _modified(shown: Shown) -> str:
    return http_date(shown.attr.mtime_ns)


def _resourcetype(shown: Shown) -> str:
    return "<D:collection/>" if shown.collection else ""


def _executable(shown: Shown) -> str | None:
    if shown.collection:
        return None
    return "T" if shown.attr.mode & stat.S_IXUSR else "F"


def _iscollection(shown: Shown) -> str:
    return "1" if shown.collection else "0"


_SUPPORTED_LOCK = "".join(
    f"<D:lockentry><D:lockscope><D:{scope}/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockentry>"
    for scope in ("exclusive", "shared")
)


def lock_discovery(locks: Sequence[Lock]) -> str:
    """The content of DAV:lockdiscovery."""
    return "".join(
        "<D:activelock><D:locktype><D:write/></D:locktype>"
        f"<D:lockscope><D:{'exclusive' if lock.exclusive else 'shared'}/></D:lockscope>"
        f"<D:depth>{'infinity' if lock.infinite else '0'}</D:depth>"
        f"{lock.owner.decode()}"
        f"<D:timeout>Second-{lock.left()}</D:timeout>"
        f"<D:locktoken><D:href>{text(lock.token)}</D:href></D:locktoken>"
        f"<D:lockroot><D:href>{text(href(lock.path))}</D:href></D:lockroot>"
        "</D:activelock>"
        for lock in locks
    )


def _make(tag: str, render: Callable[[Shown], str | None]) -> Property:
    namespace, _, local = tag[1:].partition("}") if tag.startswith("{") else ("", "", tag)
    if namespace == "DAV:":
        return Property(tag, f"<D:{local}>", f"</D:{local}>", f"<D:{local}/>", render)
    if namespace == _XML:  # its prefix is fixed and may not be declared otherwise
        return Property(tag, f"<xml:{local}>", f"</xml:{local}>", f"<xml:{local}/>", render)
    space = f' xmlns:X="{escape(namespace)}"' if namespace else ""
    name = f"X:{local}" if namespace else local
    return Property(tag, f"<{name}{space}>", f"</{name}>", f"<{name}{space}/>", render)


_ALWAYS: dict[str, Callable[[Shown], str | None]] = {
    f"{DAV}resourcetype": _resourcetype,
    f"{DAV}creationdate": _creationdate,
    f"{DAV}displayname": _displayname,
    f"{DAV}getcontentlength": _length,
    f"{DAV}getcontenttype": _type,
    f"{DAV}getetag": _etag,
    f"{DAV}getlastmodified": _modified,
    f"{DAV}supportedlock": lambda _: _SUPPORTED_LOCK,
    f"{DAV}lockdiscovery": lambda shown: lock_discovery(shown.locks),
    f"{APACHE}executable": _executable,
}
_ON_REQUEST: dict[str, Callable[[Shown], str | None]] = {
    WIN32_MODIFIED: _modified,
    f"{DAV}iscollection": _iscollection,  # the old Microsoft clients
}
QUOTA_TAGS = (f"{DAV}quota-available-bytes", f"{DAV}quota-used-bytes")
LIVE: dict[str, Property] = {tag: _make(tag, render) for tag, render in (_ALWAYS | _ON_REQUEST).items()}
ALLPROP: tuple[Property, ...] = tuple(LIVE[tag] for tag in _ALWAYS)
LOCK_TAG = f"{DAV}lockdiscovery"
PROTECTED = frozenset(LIVE) | frozenset(QUOTA_TAGS)


def quota_property(tag: str, quota: Quota) -> Property:
    """Quota is told of collections alone (RFC 4331)."""
    value = quota.available if tag == QUOTA_TAGS[0] else quota.used
    told = None if value is None else str(value)
    return _make(tag, lambda shown: told if shown.collection else None)


def unknown_property(tag: str) -> Property:
    """One that is not live: a dead property, or nothing."""
    return _make(tag, lambda _: None)
