"""What a request is refused with. Everything the store raises is mapped by its one table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from http import HTTPStatus

from gravitonfs.errors import Detached, Fenced, GravitonError, Kind, Throttled

# What RFC 4918 names that http.HTTPStatus lacks or words otherwise is not used here, so the library's
# table is enough.
REASONS: dict[int, str] = {status.value: status.phrase for status in HTTPStatus}


class Refused(Exception):
    """An answer other than success: a status, a sentence, and a WebDAV condition where there is one.

    ``condition`` is the local name of a ``DAV:`` pre- or postcondition element (RFC 4918, section 16)
    and ``hrefs`` the resources it names. ``close``: the connection cannot be used any further.
    """

    def __init__(
        self,
        status: int,
        message: str = "",
        *,
        condition: str | None = None,
        hrefs: Sequence[str] = (),
        headers: Sequence[tuple[str, str]] = (),
        close: bool = False,
    ) -> None:
        super().__init__(message or REASONS.get(status, ""))
        self.status = status
        self.condition = condition
        self.hrefs = tuple(hrefs)
        self.headers = tuple(headers)
        self.close = close


def refusal_of(error: GravitonError) -> Refused:
    """The answer to an error of the store. What is broken inside is logged, not told."""
    if error.kind in (Kind.DAMAGED, Kind.INTERNAL, Kind.FORMAT):
        return Refused(error.http_status, "the volume could not answer; its log says why")
    if isinstance(error, Throttled):
        # 429 is younger than most clients, who give a file up for it; 503 they wait for and come back.
        return Refused(503, str(error), headers=[("Retry-After", str(max(1, math.ceil(error.retry_after))))])
    if isinstance(error, (Fenced, Detached)):  # the gateway's session, which the next request has anew
        return Refused(503, f"{error}: try again", headers=[("Retry-After", "1")])
    headers = [("Retry-After", "5")] if error.http_status == 503 else []
    return Refused(error.http_status, str(error), headers=headers)
