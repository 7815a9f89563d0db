"""PROPPATCH: all of its changes in one batch, or none."""

from __future__ import annotations

import stat
from typing import NamedTuple
from xml.etree.ElementTree import Element

from graviton_webdav.conditions import Conditions
from graviton_webdav.dates import NANO, parse_http_date
from graviton_webdav.dead_properties import PREFIX, VALUE_MAX, XML_LANG, attribute_name, to_value
from graviton_webdav.faults import Refused
from graviton_webdav.live_properties import APACHE, DAV, PROTECTED, WIN32_MODIFIED, unknown_property
from graviton_webdav.locks import Locks
from graviton_webdav.messages import XML_TYPE, Request, Response
from graviton_webdav.paths import href
from graviton_webdav.resources import Resources, is_collection
from gravitonfs.errors import GravitonError
from gravitonfs.ports.ops import Attr, Op, RemoveXattr, SetAttr, SetXattr

_EXECUTABLE = f"{APACHE}executable"
_MODIFIED = f"{DAV}getlastmodified"
_TIMES = (_MODIFIED, WIN32_MODIFIED)
_SETTABLE = frozenset((_EXECUTABLE, *_TIMES))
"""Live properties that may be set: the executable bit, and the time, by two names."""
_XBITS = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH


class Change(NamedTuple):
    """``element`` None: remove the property."""

    tag: str
    element: Element | None
    lang: str | None


def parse_propertyupdate(root: Element | None) -> list[Change]:
    """The changes in document order."""
    if root is None or root.tag != f"{DAV}propertyupdate":
        raise Refused(400, "the body must be a DAV:propertyupdate element")
    changes: list[Change] = []
    for action in root:
        if action.tag not in (f"{DAV}set", f"{DAV}remove"):
            continue  # unknown elements are ignored (RFC 4918, 17)
        for prop in action.findall(f"{DAV}prop"):
            lang = prop.get(XML_LANG) or action.get(XML_LANG) or root.get(XML_LANG)
            for element in prop:
                if isinstance(element.tag, str):
                    kept = element if action.tag == f"{DAV}set" else None
                    changes.append(Change(element.tag, kept, lang))
    if not changes:
        raise Refused(400, "no property is named")
    return changes


class Proppatch:
    """The method PROPPATCH."""

    def __init__(self, resources: Resources, locks: Locks, conditions: Conditions) -> None:
        self._resources = resources
        self._volume = resources.volume
        self._locks = locks
        self._conditions = conditions

    def __call__(self, request: Request) -> Response:
        changes = parse_propertyupdate(request.xml())
        _, attr = self._resources.existing(request.path, slash=request.slash)
        tokens = self._conditions.tokens(request)
        with self._locks.steady():
            self._locks.check(request.path, tokens, request.principal)
            failed = {change.tag: status for change in changes if (status := _problem(change, attr))}
            if not failed:
                ops = self._ops(attr, changes)
                try:
                    self._volume.submit(*ops, durable=True)
                except GravitonError as error:
                    if error.http_status not in (400, 507):
                        raise
                    failed = dict.fromkeys((change.tag for change in changes), 507)
        return _answer(href(request.path, collection=is_collection(attr)), changes, failed)

    def _ops(self, attr: Attr, changes: list[Change]) -> list[Op]:
        """The last change to a property counts; removing what is not there is no error."""
        there = {name for name, _ in self._volume.namespace.xattrs(attr.ino) if name.startswith(PREFIX)}
        values: dict[bytes, bytes | None] = {}
        mode: int | None = None
        mtime: int | None = None
        for tag, element, lang in changes:
            if tag == _EXECUTABLE and element is not None:
                on = (element.text or "").strip().upper() == "T"
                mode = attr.mode & 0o7777 & ~_XBITS | (_readable_bits(attr.mode) if on else 0)
                continue
            if tag in _TIMES and element is not None:
                mtime = _time(element)
                continue
            values[attribute_name(tag)] = None if element is None else to_value(element, lang)
        ops: list[Op] = []
        for name, value in values.items():
            if value is not None:
                ops.append(SetXattr(attr.ino, name, value))
            elif name in there:
                ops.append(RemoveXattr(attr.ino, name))
        if mode is not None or mtime is not None:
            ops.append(SetAttr(attr.ino, mode=mode, mtime_ns=mtime))
        return ops


def _problem(change: Change, attr: Attr) -> int | None:
    tag, element, lang = change
    if tag in PROTECTED and (tag not in _SETTABLE or element is None):
        return 403
    if tag == _EXECUTABLE and is_collection(attr):
        return 403
    if tag in _TIMES and element is not None and _time(element) is None:
        return 409
    if element is not None and len(to_value(element, lang)) > VALUE_MAX:
        return 507
    return None


def _readable_bits(mode: int) -> int:
    """Execution for whoever may read."""
    return (mode & 0o444) >> 2


def _time(element: Element) -> int | None:
    """Nanoseconds from an HTTP date or plain seconds."""
    text = (element.text or "").strip()
    seconds = int(text) if text.isdigit() and len(text) < 12 else parse_http_date(text)
    return None if seconds is None else seconds * NANO


def _answer(url: str, changes: list[Change], failed: dict[str, int]) -> Response:
    groups: dict[int, list[str]] = {}
    for tag in dict.fromkeys(change.tag for change in changes):
        groups.setdefault(failed.get(tag, 424 if failed else 200), []).append(unknown_property(tag).empty)
    reasons = {
        200: "OK",
        403: "Forbidden",
        409: "Conflict",
        424: "Failed Dependency",
        507: "Insufficient Storage",
    }
    parts = []
    for status, names in groups.items():
        condition = "<D:error><D:cannot-modify-protected-property/></D:error>" if status == 403 else ""
        parts.append(
            f"<D:propstat><D:prop>{''.join(names)}</D:prop>"
            f"<D:status>HTTP/1.1 {status} {reasons[status]}</D:status>{condition}</D:propstat>"
        )
    text = (
        '<?xml version="1.0" encoding="utf-8"?>\n<D:multistatus xmlns:D="DAV:">'
        f"<D:response><D:href>{url}</D:href>{''.join(parts)}</D:response></D:multistatus>\n"
    )
    return Response(207, [XML_TYPE], text.encode("utf-8", "replace"))
