"""PROPFIND: one query for 1,000 members, written straight as bytes and sent page by page."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple
from xml.etree.ElementTree import Element

from graviton_webdav.conditions import Conditions
from graviton_webdav.dead_properties import PREFIX, DeadProperty, from_attributes
from graviton_webdav.faults import Refused
from graviton_webdav.live_properties import (
    ALLPROP,
    DAV,
    LIVE,
    LOCK_TAG,
    QUOTA_TAGS,
    Property,
    Quota,
    Shown,
    quota_property,
    unknown_property,
)
from graviton_webdav.locks import Lock, Locks
from graviton_webdav.messages import XML_TYPE, Request, Response
from graviton_webdav.paths import Path, href, href_name
from graviton_webdav.resources import Resources, is_collection, is_shown, version_etag
from gravitonfs.core.ids import Ino
from gravitonfs.ports.namespace import Entry
from gravitonfs.ports.ops import Attr

PAGE = 1000
INFINITE_MAX = 10_000
"""Members of a tree that ``Depth: infinity`` lists; of larger ones it is refused."""
_HEAD = '<?xml version="1.0" encoding="utf-8"?>\n<D:multistatus xmlns:D="DAV:">'
_TAIL = "</D:multistatus>\n"
_FOUND = "<D:propstat><D:prop>"
_OK = "</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>"
_MISSING = "</D:prop><D:status>HTTP/1.1 404 Not Found</D:status></D:propstat>"

QuotaSource = Callable[[], Quota]


class Wanted(NamedTuple):
    """What a PROPFIND asks of each resource.

    ``dead``: dead properties may be among it; ``every``: all of them are wanted; ``names``: names alone;
    ``told``: properties were named, so those that are not there are answered with 404.
    """

    live: tuple[Property, ...]
    dead: bool
    every: bool
    names: bool
    told: bool
    locks: bool


def parse_propfind(root: Element | None, quota: QuotaSource) -> Wanted:
    """An empty body asks for everything."""
    if root is None:
        return Wanted(ALLPROP, True, True, False, False, True)
    if root.tag != f"{DAV}propfind":
        raise Refused(400, "the body must be a DAV:propfind element")
    kinds = [child for child in root if child.tag in (f"{DAV}prop", f"{DAV}allprop", f"{DAV}propname")]
    if len(kinds) != 1:
        raise Refused(400, "exactly one of DAV:prop, DAV:allprop and DAV:propname is wanted")
    kind = kinds[0].tag
    if kind == f"{DAV}propname":
        return Wanted(ALLPROP, True, True, True, False, False)
    if kind == f"{DAV}allprop":
        extra = [_property(child.tag, quota) for include in root.iter(f"{DAV}include") for child in include]
        known = {item.tag for item in ALLPROP}
        live = (*ALLPROP, *(item for item in extra if item.tag not in known and _is_live(item.tag)))
        return Wanted(live, True, True, False, False, True)
    tags = list(dict.fromkeys(child.tag for child in kinds[0] if isinstance(child.tag, str)))
    wanted = tuple(_property(tag, quota) for tag in tags)
    dead = any(not _is_live(tag) for tag in tags)
    return Wanted(wanted, dead, False, False, True, LOCK_TAG in tags)


def _is_live(tag: str) -> bool:
    return tag in LIVE or tag in QUOTA_TAGS


def _property(tag: str, quota: QuotaSource) -> Property:
    if tag in QUOTA_TAGS:
        return quota_property(tag, quota())
    return LIVE.get(tag) or unknown_property(tag)


class Propfind:
    """The method PROPFIND."""

    def __init__(
        self, resources: Resources, locks: Locks, conditions: Conditions, quota: Callable[[Ino], Quota]
    ) -> None:
        self._resources = resources
        self._names = resources.volume.namespace
        self._locks = locks
        self._conditions = conditions
        self._quota = quota

    def __call__(self, request: Request) -> Response:
        depth = request.depth("infinity")
        body = request.xml()
        place, attr = self._resources.existing(request.path, slash=request.slash)
        wanted = parse_propfind(body, partial(self._quota, attr.ino))
        self._conditions.tokens(request)
        if not is_collection(attr):
            depth = "0"
        tree = self._whole_tree(place.path, attr) if depth == "infinity" else None
        return Response(207, [XML_TYPE], stream=self._pages(place.path, attr, wanted, depth, tree))

    def _whole_tree(self, path: Path, attr: Attr) -> list[tuple[Path, list[Entry]]]:
        """Every collection below with its members, or 403 when there are too many."""
        result: list[tuple[Path, list[Entry]]] = []
        count = 0
        pending = [(path, attr.ino)]
        while pending:
            where, ino = pending.pop()
            for page in self._members(ino):
                count += len(page)
                if count > INFINITE_MAX:
                    raise Refused(
                        403,
                        f"the tree has more than {INFINITE_MAX} members",
                        condition="propfind-finite-depth",
                    )
                result.append((where, page))
                pending += [
                    ((*where, entry.name), entry.attr.ino) for entry in page if is_collection(entry.attr)
                ]
        return result

    def _members(self, ino: Ino) -> Iterator[list[Entry]]:
        after: bytes | None = None
        while True:
            page = self._names.entries(ino, after, PAGE)
            if page:
                yield page
            if len(page) < PAGE:
                return
            after = page[-1].name

    def _pages(
        self,
        path: Path,
        attr: Attr,
        wanted: Wanted,
        depth: str,
        tree: list[tuple[Path, list[Entry]]] | None,
    ) -> Iterator[Sequence[bytes]]:
        above = self._locks.at(path) if wanted.locks else []
        collection = is_collection(attr)
        shown = Shown(
            href(path, collection=collection),
            path[-1] if path else b"",
            attr,
            "" if collection else self._resources.etag(attr),
            collection,
            above,
        )
        waiting = _HEAD + "".join(self._render([shown], wanted))
        if depth == "1":
            tree_pages: Iterator[tuple[Path, list[Entry]]] = (
                (path, page) for page in self._members(attr.ino)
            )
        else:
            tree_pages = iter(tree or ())
        for where, page in tree_pages:
            yield ((waiting + "".join(self._page(where, page, wanted, above))).encode("utf-8", "replace"),)
            waiting = ""
        yield ((waiting + _TAIL).encode("utf-8", "replace"),)

    def _page(
        self, directory: Path, page: Sequence[Entry], wanted: Wanted, above: Sequence[Lock]
    ) -> Iterator[str]:
        base = href(directory, collection=True)
        below = self._locks.below(directory) if wanted.locks else []
        inherited = [lock for lock in above if lock.infinite]
        shown: list[Shown] = []
        for name, own, digest in page:
            attr = own
            if not is_shown(attr):
                target = self._resources.behind_link(directory, attr) if stat.S_ISLNK(attr.mode) else None
                if target is None:
                    continue
                attr = target
            url = base + href_name(name)
            locks: Sequence[Lock] = inherited
            if below:
                path = (*directory, name)
                locks = inherited + [
                    lock
                    for lock in below
                    if lock.path == path or (lock.infinite and path[: len(lock.path)] == lock.path)
                ]
            if is_collection(attr):
                shown.append(Shown(url + "/", name, attr, "", True, locks))
            elif attr is own:
                etag = f'"{digest.hex()}"' if digest is not None else version_etag(attr)
                shown.append(Shown(url, name, attr, etag, False, locks))
            else:
                shown.append(Shown(url, name, attr, self._resources.etag(attr), False, locks))
        return self._render(shown, wanted)

    def _render(self, page: Sequence[Shown], wanted: Wanted) -> Iterator[str]:
        dead = self._dead([shown.attr.ino for shown in page]) if wanted.dead else {}
        if wanted.names:
            return (_names_of(shown, wanted, dead.get(shown.attr.ino, ())) for shown in page)
        if not dead and wanted.every:
            return (_every_live(shown, wanted.live) for shown in page)
        return (_response(shown, wanted, dead.get(shown.attr.ino, ())) for shown in page)

    def _dead(self, inos: Sequence[Ino]) -> dict[Ino, list[DeadProperty]]:
        found: dict[Ino, list[tuple[bytes, bytes]]] = {}
        for ino, name, value in self._names.xattrs_of(inos, PREFIX):
            found.setdefault(ino, []).append((name, value))
        return {ino: from_attributes(attributes) for ino, attributes in found.items()}


def _every_live(shown: Shown, live: Sequence[Property]) -> str:
    parts = ["<D:response><D:href>", shown.href, "</D:href>", _FOUND]
    for item in live:
        value = item.render(shown)
        if value is not None:
            parts += (item.open, value, item.close)
    parts.append(_OK + "</D:response>")
    return "".join(parts)


def _response(shown: Shown, wanted: Wanted, dead: Sequence[DeadProperty]) -> str:
    found: list[str] = []
    missing: list[str] = []
    made_up = {item.tag: item.xml for item in dead}
    for item in wanted.live:
        value = item.render(shown)
        if value is not None:
            found += (item.open, value, item.close)
        elif item.tag in made_up and not wanted.every:
            found.append(made_up[item.tag])
        else:
            missing.append(item.empty)
    if wanted.every:
        found += made_up.values()
    parts = ["<D:response><D:href>", shown.href, "</D:href>"]
    if found or not missing:
        parts += (_FOUND, "".join(found), _OK)
    if missing and wanted.told:
        parts += (_FOUND, "".join(missing), _MISSING)
    parts.append("</D:response>")
    return "".join(parts)


def _names_of(shown: Shown, wanted: Wanted, dead: Sequence[DeadProperty]) -> str:
    names = [item.empty for item in wanted.live if item.render(shown) is not None]
    names += [unknown_property(item.tag).empty for item in dead]
    return f"<D:response><D:href>{shown.href}</D:href>{_FOUND}{''.join(names)}{_OK}</D:response>"
