"""The id that ties together what one request causes, in answers and in logs."""

from __future__ import annotations

import re
import uuid
from contextvars import ContextVar
from typing import Final

request_id: Final[ContextVar[str]] = ContextVar("request_id", default="")
"""Of the request that this thread works for; empty outside of one."""
_PLAIN: Final = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")


def begin(given: str | None) -> str:
    """Note the id that a client has sent, or a new one where it sent none that could go into a log."""
    found = given if given is not None and _PLAIN.fullmatch(given) else uuid.uuid4().hex
    request_id.set(found)
    return found
