"""Who calls, and what they may do. Tokens are judged by a callable that is given from outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

READ: Final = "read"
WRITE: Final = "write"
ADMIN: Final = "admin"


class Principal(Protocol):
    """``name`` is for logs and for the list of sessions; a session belongs to one name."""

    @property
    def name(self) -> str: ...

    def allows(self, scope: str, volume: str) -> bool:
        """``scope``: read, write or admin; ``volume`` empty: the store itself."""


class Credentials(NamedTuple):
    """What came with a call. ``certificate``: the verified client certificate's properties."""

    token: str | None
    peer: str
    certificate: Mapping[str, Sequence[bytes]]


Authenticate = Callable[[Credentials], Principal]
"""Raises ``Unauthenticated``. Called for every call, so it remembers what was expensive to find out."""


class Anyone:
    """Nobody has looked at who it is."""

    name = "anonymous"

    def allows(self, scope: str, volume: str) -> bool:
        return True


def anyone(_: Credentials) -> Principal:
    """For servers without authentication, which listen on loopback unless told otherwise."""
    return Anyone()
