"""Who is asking: Basic authentication against a users file, or nobody in particular on loopback."""

from __future__ import annotations

import ipaddress
import socket
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from graviton_webdav.faults import Refused
from graviton_webdav.messages import Request
from gravitonfs.errors import Invalid

ANONYMOUS = ""


class Guard(Protocol):
    """Names the caller of a request, or refuses it."""

    def principal(self, request: Request) -> str: ...


class LoopbackGuard:
    """Everybody on this machine. Only for servers bound to loopback.

    A page in a browser on this machine can name this server by a host name of its own (DNS
    rebinding), so only names that mean loopback are answered.
    """

    def principal(self, request: Request) -> str:
        host = request.headers.get(b"Host", b"localhost")
        if _means_loopback(host):
            return ANONYMOUS
        raise Refused(403, f"without a users file only localhost is served, not {host.decode('latin-1')!r}")


@lru_cache(maxsize=64)
def _means_loopback(header: bytes) -> bool:
    host = header.decode("latin-1").strip().lower()
    name = host[: host.find("]") + 1].strip("[]") if host.startswith("[") else host.partition(":")[0]
    return name == "localhost" or name.endswith(".localhost") or _is_loopback_literal(name)


def guard_for(host: str, users_file: Path | None, realm: str) -> Guard:
    """Raises Invalid where a server would be open to other machines without authentication."""
    if users_file is not None:
        from graviton_webdav.basic_auth import UsersGuard  # with the password hashes; not needed otherwise

        return UsersGuard(users_file, realm)
    if not is_loopback(host):
        raise Invalid(
            f"{host} can be reached from other machines, so WebDAV needs a users file there:"
            " make one with graviton passwd FILE USER and pass --users FILE,"
            " or listen on 127.0.0.1"
        )
    return LoopbackGuard()


def is_loopback(host: str) -> bool:
    """Every address of ``host`` is this machine's own."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return bool(host) and all(_is_loopback_literal(str(info[4][0])) for info in found)


def _is_loopback_literal(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).is_loopback
    except ValueError:
        return False
