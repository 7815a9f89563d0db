"""Every address of the host is listened on, or the server does not start.

gRPC by itself is content with any of them: its clients might then find somebody else at the others.
"""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable, Sequence
from typing import Final

from gravitonfs.errors import Busy, Invalid

log = logging.getLogger("graviton.grpc")

_TRIES: Final = 16
_LOOPBACK: Final = ("127.0.0.1", "::1")
_ABSENT: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
Add = Callable[[str], int]
"""Has gRPC listen on ADDRESS:PORT; answers with the port. RuntimeError."""


def listen(host: str, port: int, add: Add) -> int:
    """The port, which with 0 is one that is free at each address. Busy, Invalid."""
    addresses = [address for address in _addresses_of(host) if _is_here(address)]
    if not addresses:
        raise Invalid(f"{host} is no address of this machine: gRPC cannot listen on it")
    if port or len(addresses) == 1:
        return _listen_on(addresses, port, add)
    for _ in range(_TRIES - 1):
        try:
            return _listen_on(addresses, _free_port(addresses[0]), add)
        except Busy:
            pass  # somebody else has taken it in this moment
    return _listen_on(addresses, _free_port(addresses[0]), add)


def _addresses_of(host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise Invalid(f"{host} is no address and no known name: {error}") from error
    # Clients know this name by themselves, whatever /etc/hosts says.
    always = _LOOPBACK if host.lower().rstrip(".") == "localhost" else ()
    return list(dict.fromkeys([*(str(address[0]) for *_, address in found), *always]))


def _is_here(address: str) -> bool:
    """The machine has this address, and its family at all."""
    try:
        _bound(address, 0).close()
    except OSError as error:
        if error.errno not in _ABSENT:
            raise Busy(f"{_shown(address, 0)} cannot be listened on: {error.strerror}") from error
        log.info("this machine has no address %s: gRPC does not listen on it", address)
        return False
    return True


def _listen_on(addresses: Sequence[str], port: int, add: Add) -> int:
    shown = [_shown(address, port) for address in addresses]
    for address, name in zip(addresses, shown, strict=True):  # before any is added: that cannot be undone
        try:
            _bound(address, port).close()
        except OSError as error:
            raise Busy(f"{name} cannot be listened on: {error.strerror}") from error
    for name in shown:
        try:
            found = add(name)
        except RuntimeError as error:
            raise Busy(f"{name} cannot be listened on: is something else using it?") from error
    return found


def _free_port(address: str) -> int:
    with _bound(address, 0) as one:
        port: int = one.getsockname()[1]
        return port


def _bound(address: str, port: int) -> socket.socket:
    """As gRPC binds it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.bind(socket.getaddrinfo(address, port, family, socket.SOCK_STREAM)[0][4])
    except BaseException:
        made.close()
        raise
    return made


def _shown(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
