"""/api/v1/admin/targets: where packs are kept, and changing how they are used.

New ones are added on the machine, by ``graviton target add`` or the configuration: a path or a bucket that a
request names would have the daemon write wherever whoever holds a token says.
"""

from __future__ import annotations

from typing import Literal

import falcon
import msgspec

from graviton_server.control.store_requests import ChangeTarget, ListTargets
from graviton_server.http_api.admin import Ask
from graviton_server.http_api.context import Api, answer, document, whole
from gravitonfs.errors import Invalid

_LARGEST = 10**17
_WEIGHT = 1000.0
_COPIES = 16


class _Change(msgspec.Struct, forbid_unknown_fields=True):
    state: Literal["active", "draining", "removed"] | None = None
    zone: str | None = None
    weight: float | None = None
    capacity: int | float | None = None
    copies: int | float | None = None
    zones: int | float | None = None
    force: bool = False


class TargetList:
    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        answer(resp, {"targets": msgspec.to_builtins(self._ask(ListTargets()))})


class OneTarget:
    def __init__(self, api: Api, ask: Ask) -> None:
        self._api = api
        self._ask = ask

    def on_patch(self, req: falcon.Request, resp: falcon.Response, target: str) -> None:
        """What is not named stays as it is."""
        wanted = document(req, self._api, _Change)
        if wanted.weight is not None and not 0 <= wanted.weight <= _WEIGHT:
            raise Invalid(f"weight is a number from 0 to {_WEIGHT:g}")
        if wanted.zone is not None and not wanted.zone:
            raise Invalid("zone is a name")
        change = ChangeTarget(
            name=target,
            state=wanted.state,
            zone=wanted.zone,
            weight=wanted.weight,
            capacity=whole(wanted.capacity, "capacity", _LARGEST),
            copies=_positive(wanted.copies, "copies"),
            zones=_positive(wanted.zones, "zones"),
            force=wanted.force,
        )
        answer(resp, msgspec.to_builtins(self._ask(change)))


def _positive(value: float | None, name: str) -> int | None:
    found = whole(value, name, _COPIES)
    if found == 0:
        raise Invalid(f"{name} is a whole number from 1 to {_COPIES}")
    return found
