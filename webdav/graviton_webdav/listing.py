"""A collection as a page for browsers: names, sizes and times; no scripts."""

from __future__ import annotations

import stat
import time
from collections.abc import Iterator, Sequence
from html import escape

from graviton_webdav.messages import Response
from graviton_webdav.paths import Path, display, href, href_name
from graviton_webdav.resources import Resources, is_collection, is_shown
from gravitonfs.core.units import format_size
from gravitonfs.ports.ops import Attr

_PAGE = 1000
_STYLE = (
    "body{font:15px system-ui,sans-serif;margin:2em auto;max-width:60em;padding:0 1em}"
    "table{border-collapse:collapse;width:100%}td,th{padding:.25em .75em;text-align:left}"
    "td.n,th.n{text-align:right;white-space:nowrap}tr:hover{background:#8882}"
)
_HEADERS = [
    ("Content-Type", "text/html; charset=utf-8"),
    ("Cache-Control", "no-cache"),
    ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"),
]


def listing(resources: Resources, path: Path, attr: Attr) -> Response:
    return Response(200, list(_HEADERS), stream=_pages(resources, path, attr))


def _pages(resources: Resources, path: Path, attr: Attr) -> Iterator[Sequence[bytes]]:
    title = escape("/" + "/".join(display(name) for name in path))
    up = f'<tr><td colspan=3><a href="{escape(href(path[:-1], collection=True))}">..</a>' if path else ""
    waiting = (
        f"<!DOCTYPE html><html><head><meta charset=utf-8><title>{title}</title><style>{_STYLE}</style></head>"
        f"<body><h1>{title}</h1><table><tr><th>Name<th class=n>Size<th class=n>Modified (UTC)</tr>{up}"
    )
    after: bytes | None = None
    while True:
        page = resources.volume.namespace.entries(attr.ino, after, _PAGE)
        rows = []
        for entry in page:
            target: Attr | None = entry.attr
            if stat.S_ISLNK(entry.attr.mode):
                target = resources.behind_link(path, entry.attr)
            if target is not None and is_shown(target):
                rows.append(_row(path, entry.name, target))
        yield ((waiting + "".join(rows)).encode("utf-8", "replace"),)
        waiting = ""
        if len(page) < _PAGE:
            break
        after = page[-1].name
    yield (b"</table></body></html>\n",)


def _row(directory: Path, name: bytes, attr: Attr) -> str:
    slash = "/" if is_collection(attr) else ""
    url = escape(href(directory, collection=True) + href_name(name) + slash)
    size = "" if slash else format_size(attr.size)
    when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(attr.mtime_ns // 1_000_000_000))
    return f'<tr><td><a href="{url}">{escape(display(name))}{slash}</a><td class=n>{size}<td class=n>{when}\n'
