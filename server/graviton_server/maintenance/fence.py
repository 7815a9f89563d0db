"""Which database a target belongs to: a load founds another one, and the one before must not go on.

The object ``fence`` has the time of the load that a target has last seen, and the database has its own. An
engine whose database is older than the target's fence is refused; one whose is younger raises it.
"""

from __future__ import annotations

import logging
from io import BytesIO
from typing import Final, Protocol

import msgspec

from gravitonfs.errors import Damaged, FormatError, GravitonError, Locked, NotFound
from gravitonfs.ports.target import SeveralTargets, Target, each_place

log = logging.getLogger(__name__)

FENCE_KEY: Final = "fence"
_MOST: Final = 4096


class FenceHolder(Protocol):
    """The database's side."""

    def fence(self) -> int:
        """Nanoseconds since the epoch of the load that founded the database; 0: none did."""


class _Fence(msgspec.Struct, frozen=True):
    store: str
    fence: int


def read_fence(target: Target, store: bytes) -> int:
    """0: there is none."""
    try:
        found = msgspec.json.decode(target.get(FENCE_KEY, 0, _MOST), type=_Fence)
    except NotFound:
        return 0
    except msgspec.DecodeError as error:
        raise Damaged(f"the object {FENCE_KEY!r} on the target {target.name} cannot be read") from error
    if found.store != store.hex():
        raise FormatError(f"the object {FENCE_KEY!r} on the target {target.name} is of another store")
    return found.fence


def check_fence(target: Target | SeveralTargets, holder: FenceHolder, store: bytes) -> None:
    """Raises Locked where the store was loaded into another database since. Targets that are away are
    passed by."""
    own = holder.fence()
    for place in each_place(target):
        found = _found(place, store)
        if found is not None and found > own:
            raise Locked(
                "this store was loaded into another database (graviton load), to which its packs belong now:"
                " this process must not go on with the old one"
            )


def check_one(holder: FenceHolder, store: bytes, place: Target) -> None:
    """As ``check_fence``, of one target, which somebody is about to write to or delete from."""
    try:
        found = read_fence(place, store)
    except FormatError:
        raise
    except GravitonError:
        return  # whoever goes on finds out why
    if found > holder.fence():
        raise Locked(
            f"the target {place.name} belongs to another database now (graviton load): nothing is changed"
            " there"
        )


def settle_fence(target: Target | SeveralTargets, holder: FenceHolder, store: bytes) -> None:
    """As ``check_fence``, for who opens a store; targets learn of a younger database. Idempotent."""
    check_fence(target, holder, store)
    own = holder.fence()
    if not own:
        return
    body = msgspec.json.encode(_Fence(store.hex(), own))
    for place in each_place(target):
        found = _found(place, store)
        if found is not None and found < own:
            try:
                place.put(FENCE_KEY, BytesIO(body), len(body))
            except GravitonError as error:
                log.warning("the target %s is not told of the load: %s", place.name, error)


def _found(place: Target, store: bytes) -> int | None:
    try:
        return read_fence(place, store)
    except FormatError:
        raise
    except GravitonError as error:
        log.warning("the fence of the target %s cannot be read: %s", place.name, error)
        return None
