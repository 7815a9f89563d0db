"""Jobs of all daemons of a store: each tells its own in the records of the first volume, and hears there of
those that somebody wants ended through another daemon.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final

import msgspec

from graviton_server.auth.apptokens import Attached
from gravitonfs.errors import GravitonError
from gravitonfs.ports.ops import SetRecord

log = logging.getLogger("graviton.http")

SPACE: Final = "jobs"
TELL: Final = 2.0
"""Seconds between two words of one that runs."""
_LOST: Final = 60.0
"""One that was not heard of for so long ended with its daemon."""
_KEPT: Final = 100
_LARGEST: Final = 256 << 10
_END: Final = b"/end"


class Entry(msgspec.Struct, frozen=True):
    """``told``: as the API tells it; ``heard``: seconds since the epoch."""

    told: dict[str, Any]
    volume: str | None
    heard: float

    def now(self) -> dict[str, Any]:
        if self.told["state"] != "running" or time.time() - self.heard < _LOST:
            return self.told
        return self.told | {
            "state": "failed", "ended": self.heard, "progress": None,
            "error": "the daemon that ran it has not been heard of since",
        }  # fmt: skip


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode


class JobBoard:
    """Thread-safe: it keeps nothing. What it writes is not durable by itself: a job ends with its daemon."""

    def __init__(self, volume: Callable[[], AbstractContextManager[Attached]]) -> None:
        self._attached = volume

    def tell(self, job: str, told: dict[str, Any], volume: str | None) -> None:
        """A failure is logged: no job ends for it."""
        value = _encode(Entry(told, volume, time.time()))
        if len(value) > _LARGEST:
            value = _encode(
                Entry(told | {"result": {"left_out": "too long to be kept"}}, volume, time.time())
            )
        ended = told["state"] != "running"
        try:
            with self._attached() as attached:
                gone = [SetRecord(SPACE, job.encode() + _END, None)] if ended else []
                attached.submit(SetRecord(SPACE, job.encode(), value), *gone)
        except GravitonError as error:
            log.info("the state of a job could not be told: %s", error)

    def all(self) -> dict[str, Entry]:
        with self._attached() as attached:
            rows = attached.namespace.records(SPACE)
        return {key.decode(): _decode(value) for key, value in rows if not key.endswith(_END)}

    def one(self, job: str) -> Entry | None:
        with self._attached() as attached:
            rows = dict(attached.namespace.records(SPACE, job.encode()))
        found = rows.get(job.encode())
        return None if found is None else _decode(found)

    def end(self, job: str) -> None:
        """Its daemon hears of it within ``TELL`` seconds."""
        with self._attached() as attached:
            attached.submit(SetRecord(SPACE, job.encode() + _END, b"1"), durable=True)

    def is_to_end(self, job: str) -> bool:
        try:
            with self._attached() as attached:
                return bool(attached.namespace.records(SPACE, job.encode() + _END))
        except GravitonError:
            return False

    def thin(self) -> None:
        """Only the newest stay."""
        ended = [(entry.told["started"], job) for job, entry in self.all().items() if _is_over(entry)]
        gone = [job.encode() for _, job in sorted(ended)[:-_KEPT]]
        if gone:
            with self._attached() as attached:
                keys = [key for job in gone for key in (job, job + _END)]
                attached.submit(*(SetRecord(SPACE, key, None) for key in keys))


def _is_over(entry: Entry) -> bool:
    return bool(entry.now()["state"] != "running")
