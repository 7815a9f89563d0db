"""What somebody may do, volume by volume."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

READ: Final = "read"
WRITE: Final = "write"
ADMIN: Final = "admin"
SCOPES: Final = (READ, WRITE, ADMIN)
PREFIX: Final = "graviton:"


@dataclass(frozen=True)
class Identity:
    """``grants``: by scope the volumes it is for; None stands for all, the store itself included.

    ``admin`` includes ``read`` and ``write``. ``name`` is for logs; a session belongs to one name.
    """

    name: str
    grants: Mapping[str, frozenset[str] | None]

    def allows(self, scope: str, volume: str = "") -> bool:
        """``volume`` empty: the store itself."""
        for granted in (scope, ADMIN):
            if granted in self.grants:
                volumes = self.grants[granted]
                if volumes is None or volume in volumes:
                    return True
        return False


ANYONE: Final = Identity("anonymous", dict.fromkeys(SCOPES))
"""Where authentication is off."""


def grants_of(
    scopes: Iterable[str], volumes: Iterable[str] | None = None
) -> dict[str, frozenset[str] | None]:
    """From ``graviton:read`` and the like; ``graviton:read:photos`` is for one volume. Others are ignored.

    ``volumes`` bounds them all.
    """
    bound = None if volumes is None else frozenset(volumes)
    found: dict[str, frozenset[str] | None] = {}
    for text in scopes:
        scope, colon, volume = text.removeprefix(PREFIX).partition(":")
        if not text.startswith(PREFIX) or scope not in SCOPES:
            continue
        named = frozenset((volume,)) if colon else None
        if bound is not None:
            named = bound if named is None else named & bound
        if scope in found:
            before = found[scope]
            named = None if named is None or before is None else named | before
        found[scope] = named
    return found
