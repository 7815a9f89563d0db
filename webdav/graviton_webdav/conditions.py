"""Conditional requests: If-Match and its kin (RFC 9110, section 13), and WebDAV's If (RFC 4918, 10.4)."""

from __future__ import annotations

import re
from typing import NamedTuple

from graviton_webdav.dates import NANO, http_date, parse_http_date
from graviton_webdav.faults import Refused
from graviton_webdav.locks import Locks
from graviton_webdav.messages import Request
from graviton_webdav.paths import Path, parse_reference
from graviton_webdav.resources import Resources, is_collection
from gravitonfs.ports.ops import Attr

_TAGS = re.compile(r'\s*(?:W/)?("[^"]*"|\*)\s*(?:,|$)')
_IF = re.compile(r'\s*(?:<([^>]*)>|(\()|(\))|\[((?:W/)?"[^"]*")\]|([Nn][Oo][Tt]))')


class Condition(NamedTuple):
    """One of a list: a state token or an entity tag (quoted, as it was sent)."""

    negated: bool
    token: str | None
    etag: str | None


class ConditionList(NamedTuple):
    """Conditions that must all hold for one resource; ``tag`` None: the one requested."""

    tag: str | None
    conditions: tuple[Condition, ...]


def parse_if(text: str) -> list[ConditionList]:
    """The lists of an If header; 400 where it is malformed."""
    lists: list[ConditionList] = []
    tag: str | None = None
    current: list[Condition] | None = None
    negated = False
    at = 0
    while at < len(text.rstrip()):
        match = _IF.match(text, at)
        if match is None:
            raise Refused(400, "the If header is malformed")
        at = match.end()
        angle, opening, closing, etag, word = match.groups()
        if current is None:
            if opening:
                current = []
            elif angle is not None:
                tag = angle
            else:
                raise Refused(400, "the If header is malformed")
        elif closing:
            if negated or not current:
                raise Refused(400, "the If header has an empty list")
            lists.append(ConditionList(tag, tuple(current)))
            current = None
        elif word:
            negated = not negated
        elif opening:
            raise Refused(400, "the If header is malformed")
        else:
            current.append(Condition(negated, angle, etag))
            negated = False
    if current is not None or not lists:
        raise Refused(400, "the If header is malformed")
    return lists


class Conditions:
    """Evaluates a request's conditions against the volume as it is now."""

    def __init__(self, resources: Resources, locks: Locks) -> None:
        self._resources = resources
        self._locks = locks

    def tokens(self, request: Request) -> frozenset[str]:
        """The lock tokens that the request submits. 412 when its If header does not hold."""
        text = request.header(b"If")
        if text is None:
            return frozenset()
        lists = parse_if(text)
        if not any(self._list_holds(request, item) for item in lists):
            raise Refused(412, "the If header does not hold")
        return frozenset(c.token for item in lists for c in item.conditions if c.token is not None)

    def _list_holds(self, request: Request, item: ConditionList) -> bool:
        path = request.path
        if item.tag is not None:
            try:
                path, _ = parse_reference(item.tag, request.authorities())
            except Refused:
                return False  # a resource elsewhere has no state here
        return all(self._holds(path, condition) != condition.negated for condition in item.conditions)

    def _holds(self, path: Path, condition: Condition) -> bool:
        if condition.token is not None:
            return any(lock.token == condition.token for lock in self._locks.at(path))
        attr = self._resources.find(path).attr
        if attr is None or is_collection(attr) or condition.etag is None:
            return False
        return self._resources.etag_matches(condition.etag.removeprefix("W/"), attr)

    def check(self, request: Request, attr: Attr | None) -> None:
        """If-Match, If-None-Match and the dates against what stands there now: 412, or 304 for reads."""
        headers = request.headers
        reading = request.method in ("GET", "HEAD")
        if b"If-Match" in headers:
            if not self._any_match(request.header(b"If-Match"), attr):
                raise Refused(412, "If-Match does not hold")
        elif b"If-Unmodified-Since" in headers:
            since = parse_http_date(request.header(b"If-Unmodified-Since"))
            if since is not None and (attr is None or attr.mtime_ns // NANO > since):
                raise Refused(412, "the resource has been modified since")
        if b"If-None-Match" in headers:
            if self._any_match(request.header(b"If-None-Match"), attr):
                if reading and attr is not None:
                    raise self._not_modified(attr)
                raise Refused(412, "If-None-Match does not hold")
        elif reading and b"If-Modified-Since" in headers and attr is not None:
            since = parse_http_date(request.header(b"If-Modified-Since"))
            if since is not None and attr.mtime_ns // NANO <= since:
                raise self._not_modified(attr)

    def _any_match(self, text: str | None, attr: Attr | None) -> bool:
        if attr is None:
            return False
        for tag in _TAGS.findall(text or ""):
            if tag == "*" or (not is_collection(attr) and self._resources.etag_matches(tag, attr)):
                return True
        return False

    def _not_modified(self, attr: Attr) -> Refused:
        headers = [("Last-Modified", http_date(attr.mtime_ns))]
        if not is_collection(attr):
            headers.append(("ETag", self._resources.etag(attr)))
        return Refused(304, headers=headers)
