"""What every resource of the API works with, and what it knows of a request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import falcon
import msgspec

from graviton_server.auth.identity import ANYONE, READ, WRITE, Identity
from graviton_server.http_api.bridge import BODY
from graviton_server.http_api.settings import HttpSettings
from graviton_server.http_api.transfers import Transfers
from graviton_webdav.bodies import Body
from graviton_webdav.messages import Request
from graviton_webdav.paths import Path
from graviton_webdav.shelf import Shelf
from gravitonfs.content.pool import VolumePool
from gravitonfs.errors import AccessDenied, Invalid

T = TypeVar("T")
_TRUTH = {"true": True, "1": True, "false": False, "0": False}
READING = frozenset(("GET", "HEAD"))


@dataclass(frozen=True)
class Api:
    settings: HttpSettings
    pool: VolumePool
    transfers: Transfers
    volume_names: Callable[[], list[str]]

    def volume_of(self, req: falcon.Request) -> str:
        """The volume that a request is about; AccessDenied where the caller may not do that there."""
        name = text(req, "volume")
        if name == "":
            raise Invalid("the parameter volume names none")
        name = name or self.settings.default_volume
        scope = READ if req.method in READING else WRITE
        who = identity(req)
        if not who.allows(scope, name):
            raise AccessDenied(f"this needs graviton:{scope} for the volume {name!r}")
        return name

    @contextmanager
    def shelf(self, req: falcon.Request) -> Iterator[Shelf]:
        with self.pool.use(self.volume_of(req)) as attached:
            yield attached.part(Shelf)


def identity(req: falcon.Request) -> Identity:
    found: Identity = getattr(req.context, "identity", ANYONE)
    return found


def body_of(req: falcon.Request) -> Body:
    found: Body = req.env[BODY]
    return found


def gateway_request(req: falcon.Request, path: Path = (), *, slash: bool = False) -> Request:
    """The request as the gateway's methods take it."""
    http = req.env["graviton.request"]
    return Request(
        req.method, path, slash, http.inheaders, body_of(req), req.scheme, principal=identity(req).name
    )


def text(req: falcon.Request, name: str) -> str | None:
    """A query parameter, once."""
    found = req.params.get(name)
    if isinstance(found, list):
        raise Invalid(f"the parameter {name} is given more than once")
    return found


def flag(req: falcon.Request, name: str) -> bool:
    value = text(req, name)
    if value is None:
        return False
    if value.lower() not in _TRUTH:
        raise Invalid(f"the parameter {name} is true or false")
    return _TRUTH[value.lower()]


def number(req: falcon.Request, name: str, least: int, most: int) -> int | None:
    value = text(req, name)
    if value is None:
        return None
    if not value.isascii() or not value.isdecimal() or not least <= int(value[:20]) <= most:
        raise Invalid(f"the parameter {name} is a number from {least} to {most}")
    return int(value)


def document(req: falcon.Request, api: Api, kind: type[T]) -> T:
    """A small JSON body, checked; absent, it is taken for ``{}``."""
    data = body_of(req).read_all(min(api.settings.max_request_size, 1 << 20))
    try:
        return msgspec.json.decode(data or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"the body is not what is expected: {error}") from None


def whole(value: float | None, name: str, most: int) -> int | None:
    """A number of JSON, where ``5.0`` is 5."""
    if value is None:
        return None
    if value != int(value) or not 0 <= value <= most:
        raise Invalid(f"{name} is a whole number from 0 to {most}")
    return int(value)


def answer(resp: falcon.Response, value: Any, status: int = 200) -> None:
    resp.status = falcon.code_to_http_status(status)
    resp.content_type = "application/json"
    resp.data = msgspec.json.encode(value, enc_hook=str)
