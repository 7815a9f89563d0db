"""What a call failed with, as an exception of the one hierarchy; and trying again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final, TypeVar

import grpc

from gravitonfs.errors import (
    AccessDenied,
    GravitonError,
    Internal,
    Invalid,
    Throttled,
    Unauthenticated,
    Unavailable,
    Unsupported,
)
from gravitonfs.ports.wire import decode_error

T = TypeVar("T")

DETAILS: Final = "graviton-error-bin"
_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 0.5
_AWAY: Final = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,
)


def failure_of(error: grpc.RpcError) -> GravitonError:
    """The server's own exception where it told one, else what the status means."""
    for key, value in getattr(error, "trailing_metadata", tuple)() or ():
        if key == DETAILS:
            return decode_error(value)
    code = error.code() if hasattr(error, "code") else grpc.StatusCode.UNKNOWN
    text = (error.details() if hasattr(error, "details") else "") or code.name
    if code in _AWAY:
        return Unavailable(f"the daemon does not answer ({text.rpartition(': ')[2]})")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        if "larger than max" in text:
            return Invalid(f"a message is too large: {text}")
        return Throttled(text)
    if code is grpc.StatusCode.UNAUTHENTICATED:
        return Unauthenticated(text)
    if code is grpc.StatusCode.PERMISSION_DENIED:
        return AccessDenied(text)
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return Unsupported(f"the daemon does not know this call: {text}")
    return Internal(f"{code.name}: {text}")


class Pauses:
    """Waits between tries, each longer than the one before, with jitter."""

    def __init__(self) -> None:
        self._pause = _FIRST_PAUSE

    def wait(self, at_most: float = _LONGEST_PAUSE) -> None:
        time.sleep(min(self._pause * random.uniform(0.7, 1.3), max(at_most, 0.0)))
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)


def wait_while(busy: Throttled) -> None:
    """As long as a busy server asked for, within reason."""
    time.sleep(min(max(busy.retry_after, 0.05), 5.0))


def until_answered(attempt: Callable[[float], T], timeout: float) -> T:
    """Call ``attempt(seconds left)`` until it succeeds or fails for good; ``Unavailable`` after ``timeout``.

    A server that is too busy is waited for without a bound: it is there, and nothing is lost.
    """
    deadline = time.monotonic() + timeout
    pauses = Pauses()
    while True:
        left = deadline - time.monotonic()
        try:
            return attempt(max(left, 0.1))
        except Throttled as busy:
            deadline = max(deadline, time.monotonic() + timeout)
            wait_while(busy)
        except Unavailable:
            left = deadline - time.monotonic()
            if left <= 0:
                raise
            pauses.wait(left)
