"""LOCK and UNLOCK (RFC 4918, sections 6, 7, 9.10 and 9.11)."""

from __future__ import annotations

import re
import stat
from collections.abc import Sequence
from typing import NamedTuple
from xml.etree.ElementTree import Element, tostring

from graviton_webdav.conditions import Conditions
from graviton_webdav.faults import Refused
from graviton_webdav.live_properties import DAV, lock_discovery
from graviton_webdav.locks import TIMEOUT_DEFAULT, TIMEOUT_MAX, Lock, Locks
from graviton_webdav.messages import XML_TYPE, Request, Response
from graviton_webdav.resources import Resources, is_shown
from graviton_webdav.upload import Owner
from gravitonfs.ports.ops import Create, Op

_SECONDS = re.compile(r"second-(\d{1,10})", re.IGNORECASE)
_OWNER_MAX = 8192
_TOKEN = re.compile(r"\s*<([^<>\s]+)>\s*")


class Scope(NamedTuple):
    exclusive: bool
    owner: bytes


class LockMethods:
    def __init__(self, resources: Resources, locks: Locks, conditions: Conditions, owner: Owner) -> None:
        self._resources = resources
        self._volume = resources.volume
        self._locks = locks
        self._conditions = conditions
        self._owner = owner

    def lock(self, request: Request) -> Response:
        root = request.xml()
        timeout = _timeout(request.header(b"Timeout"))
        if root is None:
            return self._refresh(request, timeout)
        scope = _parse_lockinfo(root)
        depth = request.depth("infinity")
        if depth == "1":
            raise Refused(400, "a lock has Depth 0 or infinity")
        self._conditions.tokens(request)
        created = False

        def prepare() -> Sequence[Op]:
            nonlocal created
            ops = self._making(request)
            created = bool(ops)
            return ops

        lock = self._locks.acquire(
            request.path,
            infinite=depth == "infinity",
            exclusive=scope.exclusive,
            principal=request.principal,
            owner=scope.owner,
            timeout=timeout,
            prepare=prepare,
        )
        headers = [XML_TYPE, ("Lock-Token", f"<{lock.token}>")]
        return Response(201 if created else 200, headers, _answer(self._locks.at(request.path)))

    def _making(self, request: Request) -> Sequence[Op]:
        """An unmapped URL gets an empty file together with its lock (RFC 4918, 7.3)."""
        place = self._resources.find(request.path)
        if place.attr is not None:
            if not is_shown(place.attr):
                raise Refused(403, "this name belongs to something that is no file")
            return ()
        if place.parent is None:
            raise Refused(409, "the collection above does not exist")
        if request.slash:
            raise Refused(404, "there is no such collection; make it before locking it")
        tokens = self._conditions.tokens(request)
        self._locks.check(request.path, tokens, request.principal, member=True)
        mode = stat.S_IFREG | self._owner.file_mode
        ino = self._volume.new_ino()
        return (Create(place.parent, place.name, ino, mode, self._owner.uid, self._owner.gid),)

    def _refresh(self, request: Request, timeout: int) -> Response:
        tokens = self._conditions.tokens(request)
        if len(tokens) != 1:
            raise Refused(400, "a LOCK without a body refreshes one lock, named in an If header")
        lock = self._locks.refresh(request.path, next(iter(tokens)), request.principal, timeout)
        return Response(200, [XML_TYPE], _answer([lock]))

    def unlock(self, request: Request) -> Response:
        match = _TOKEN.fullmatch(request.header(b"Lock-Token") or "")
        if match is None:
            raise Refused(400, "a Lock-Token header with a token in angle brackets is wanted")
        self._conditions.tokens(request)
        self._locks.release(request.path, match[1], request.principal)
        return Response(204)


def _answer(locks: Sequence[Lock]) -> bytes:
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f'<D:prop xmlns:D="DAV:"><D:lockdiscovery>{lock_discovery(locks)}</D:lockdiscovery></D:prop>\n'
    ).encode()


def _parse_lockinfo(root: Element) -> Scope:
    if root.tag != f"{DAV}lockinfo":
        raise Refused(400, "the body must be a DAV:lockinfo element")
    exclusive = root.find(f"{DAV}lockscope/{DAV}exclusive") is not None
    shared = root.find(f"{DAV}lockscope/{DAV}shared") is not None
    if exclusive == shared:
        raise Refused(400, "the lock's scope must be exclusive or shared")
    if root.find(f"{DAV}locktype/{DAV}write") is None:
        raise Refused(422, "only write locks are known")
    element = root.find(f"{DAV}owner")
    if element is None:
        return Scope(exclusive, b"")
    element.tail = None
    owner = tostring(element, encoding="utf-8", xml_declaration=False)
    if len(owner) > _OWNER_MAX:
        raise Refused(413, f"a lock's owner has at most {_OWNER_MAX} bytes")
    return Scope(exclusive, owner)


def _timeout(value: str | None) -> int:
    """Seconds: the first form of the header that is understood, within bounds."""
    for part in (value or "").split(","):
        if part.strip().lower() == "infinite":
            return TIMEOUT_MAX
        match = _SECONDS.fullmatch(part.strip())
        if match is not None:
            return max(1, min(int(match[1]), TIMEOUT_MAX))
    return TIMEOUT_DEFAULT
