"""/console/: the page of the daemon. Its files come with the package and are served as they are."""

from __future__ import annotations

from importlib.resources import files
from typing import Any, Final, NamedTuple

import falcon
from blake3 import blake3

from gravitonfs.errors import NotFound

PREFIX: Final = "/console"
_PAGE: Final = "index.html"
_TYPES: Final = {
    ".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
}  # fmt: skip
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self';"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none';"
    " require-trusted-types-for 'script'; trusted-types 'none'"
)
"""No script but ours, no markup made of text, and no page of others around it."""
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY, "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin", "Cache-Control": "no-cache",
}  # fmt: skip


class _File(NamedTuple):
    body: bytes
    type: str
    etag: str


def _load() -> dict[str, _File]:
    found = {}
    for item in files("graviton_server.http_api").joinpath("page").iterdir():
        kind = _TYPES.get(item.name[item.name.rfind(".") :])
        if kind is not None:
            body = item.read_bytes()
            found[item.name] = _File(body, kind, f'"{blake3(body).hexdigest()[:32]}"')
    return found


class Console:
    def __init__(self) -> None:
        self._files = _load()

    def install(self, app: falcon.App[Any, Any]) -> None:
        app.add_route("/", Front())
        app.add_route(PREFIX, Front())
        app.add_route(PREFIX + "/", self)
        app.add_route(PREFIX + "/{name}", self)

    def on_head(self, req: falcon.Request, resp: falcon.Response, name: str = _PAGE) -> None:
        self.on_get(req, resp, name)

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str = _PAGE) -> None:
        found = self._files.get(name or _PAGE)
        if found is None:
            raise NotFound("there is nothing at this path")
        resp.set_headers(_HEADERS)
        resp.set_header("ETag", found.etag)
        if found.etag in (req.get_header("If-None-Match") or ""):
            resp.status = falcon.HTTP_304
            return
        resp.content_type = found.type
        resp.data = found.body


class Front:
    """Who types the address alone is led to the page; programs get what they always got."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        if req.path != PREFIX and "text/html" not in (req.get_header("Accept") or ""):
            raise NotFound("there is nothing at this path")
        resp.status = falcon.HTTP_302
        resp.location = PREFIX + "/"
