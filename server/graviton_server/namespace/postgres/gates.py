"""The table whose lock every change holds has the schema's number in its name.

A process of an older release, which still runs when a newer one brings the schema up to date, finds it gone:
its next change fails as a whole, at no cost for all others.
"""

from __future__ import annotations

from typing import Final

from psycopg import errors

from gravitonfs.errors import Unavailable

_FIRST_NUMBERED: Final = 7
GATE: Final = "gate"
"""Of the newest schema."""


def gate_of(schema: int) -> str:
    return "gate" if schema < _FIRST_NUMBERED else f"gate_{schema}"


class Outdated(Unavailable):
    """Others have a newer release, and the database its schema: clients go to them."""

    def __init__(self) -> None:
        super().__init__(
            "a newer graviton has brought the database to a schema that this process does not know: it"
            " changes and reads nothing any more; start the newer graviton in its place"
        )


def is_outdated(error: BaseException) -> bool:
    return isinstance(error, errors.UndefinedTable) and f'"{GATE}"' in str(error)
