"""What every kind of target shares: how keys look, and the object that says whose target it is."""

from __future__ import annotations

import re
from typing import Final

import msgspec
from typing_extensions import Buffer

from gravitonfs.core.releases import Format, newer
from gravitonfs.errors import FormatError, Invalid

FORMAT: Final = 1
STORE_KEY: Final = "store"
_KEY = re.compile(r"[a-z0-9-][a-z0-9.-]*(?:/[a-z0-9-][a-z0-9.-]*)*")


class _StoreObject(msgspec.Struct, frozen=True):
    format: int
    store: str


def is_key(key: str) -> bool:
    return _KEY.fullmatch(key) is not None


def check_key(key: str) -> None:
    if not is_key(key):
        raise Invalid(f"{key!r} is no key of a target")


def encode_store(store_uuid: bytes) -> bytes:
    """The ``store`` object of a new target."""
    return msgspec.json.encode(_StoreObject(FORMAT, store_uuid.hex()))


def check_store(data: Buffer, store_uuid: bytes | None, place: str) -> bytes:
    """Which store ``data``, the ``store`` object at ``place``, belongs to. Raises ``FormatError`` where that
    is not ``store_uuid``; None: any is right."""
    try:
        found = msgspec.json.decode(data, type=_StoreObject)
    except msgspec.DecodeError as error:
        raise FormatError(f"{place}/{STORE_KEY} cannot be read: {error}") from error
    if found.format > FORMAT:
        raise newer(place, Format.TARGET, found.format)
    if store_uuid is not None and found.store != store_uuid.hex():
        raise FormatError(
            f"{place} belongs to the store {found.store}, not to {store_uuid.hex()}:"
            " point the volume at its own target"
        )
    return bytes.fromhex(found.store)
