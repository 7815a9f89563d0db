"""The one hierarchy of errors, and the one table that maps it to errno, HTTP and gRPC.

Adapters translate what their SDK raises into these at the port; front ends look the status up here
and never invent one.
"""

from __future__ import annotations

import errno
from enum import Enum
from typing import NamedTuple


class Status(NamedTuple):
    """What one kind of error is called in each front end."""

    errno: int
    http: int
    grpc: str


class Kind(Enum):
    """What went wrong, as a caller may act on it; the value is the name on the wire."""

    NOT_FOUND = "not-found"
    EXISTS = "exists"
    NOT_A_DIRECTORY = "not-a-directory"
    IS_A_DIRECTORY = "is-a-directory"
    NOT_EMPTY = "not-empty"
    INVALID = "invalid"
    NAME_TOO_LONG = "name-too-long"
    FILE_TOO_LARGE = "file-too-large"
    NO_SPACE = "no-space"
    QUOTA = "quota"
    READ_ONLY = "read-only"
    NOT_PERMITTED = "not-permitted"
    ACCESS_DENIED = "access-denied"
    NO_ATTRIBUTE = "no-attribute"
    RANGE = "range"
    TOO_MANY_LINKS = "too-many-links"
    LOOP = "loop"
    CROSS_VOLUME = "cross-volume"
    STALE = "stale"
    CONFLICT = "conflict"
    BUSY = "busy"
    UNSUPPORTED = "unsupported"
    DAMAGED = "damaged"
    UNAVAILABLE = "unavailable"
    MISSING_BLOCKS = "missing-blocks"
    GAP = "gap"
    FENCED = "fenced"
    FORMAT = "format"
    LOCKED = "locked"
    UNAUTHENTICATED = "unauthenticated"
    THROTTLED = "throttled"
    DETACHED = "detached"
    INTERNAL = "internal"


STATUS: dict[Kind, Status] = {
    Kind.NOT_FOUND: Status(errno.ENOENT, 404, "NOT_FOUND"),
    Kind.EXISTS: Status(errno.EEXIST, 409, "ALREADY_EXISTS"),
    Kind.NOT_A_DIRECTORY: Status(errno.ENOTDIR, 409, "FAILED_PRECONDITION"),
    Kind.IS_A_DIRECTORY: Status(errno.EISDIR, 409, "FAILED_PRECONDITION"),
    Kind.NOT_EMPTY: Status(errno.ENOTEMPTY, 409, "FAILED_PRECONDITION"),
    Kind.INVALID: Status(errno.EINVAL, 400, "INVALID_ARGUMENT"),
    Kind.NAME_TOO_LONG: Status(errno.ENAMETOOLONG, 400, "INVALID_ARGUMENT"),
    Kind.FILE_TOO_LARGE: Status(errno.EFBIG, 413, "OUT_OF_RANGE"),
    Kind.NO_SPACE: Status(errno.ENOSPC, 507, "RESOURCE_EXHAUSTED"),
    Kind.QUOTA: Status(errno.EDQUOT, 507, "RESOURCE_EXHAUSTED"),
    Kind.READ_ONLY: Status(errno.EROFS, 403, "FAILED_PRECONDITION"),
    Kind.NOT_PERMITTED: Status(errno.EPERM, 403, "PERMISSION_DENIED"),
    Kind.ACCESS_DENIED: Status(errno.EACCES, 403, "PERMISSION_DENIED"),
    Kind.NO_ATTRIBUTE: Status(errno.ENODATA, 404, "NOT_FOUND"),
    Kind.RANGE: Status(errno.ERANGE, 416, "OUT_OF_RANGE"),
    Kind.TOO_MANY_LINKS: Status(errno.EMLINK, 409, "FAILED_PRECONDITION"),
    Kind.LOOP: Status(errno.ELOOP, 409, "FAILED_PRECONDITION"),
    Kind.CROSS_VOLUME: Status(errno.EXDEV, 409, "FAILED_PRECONDITION"),
    Kind.STALE: Status(errno.ESTALE, 410, "NOT_FOUND"),
    Kind.CONFLICT: Status(errno.EBUSY, 412, "ABORTED"),
    Kind.BUSY: Status(errno.EBUSY, 423, "UNAVAILABLE"),
    Kind.UNSUPPORTED: Status(errno.EOPNOTSUPP, 501, "UNIMPLEMENTED"),
    Kind.DAMAGED: Status(errno.EIO, 500, "DATA_LOSS"),
    Kind.UNAVAILABLE: Status(errno.EIO, 503, "UNAVAILABLE"),
    Kind.MISSING_BLOCKS: Status(errno.EIO, 409, "FAILED_PRECONDITION"),
    Kind.GAP: Status(errno.EIO, 409, "FAILED_PRECONDITION"),
    Kind.FENCED: Status(errno.EIO, 409, "ABORTED"),
    Kind.FORMAT: Status(errno.EIO, 500, "FAILED_PRECONDITION"),
    Kind.LOCKED: Status(errno.EBUSY, 423, "UNAVAILABLE"),
    Kind.UNAUTHENTICATED: Status(errno.EACCES, 401, "UNAUTHENTICATED"),
    Kind.THROTTLED: Status(errno.EAGAIN, 429, "RESOURCE_EXHAUSTED"),
    Kind.DETACHED: Status(errno.EIO, 409, "FAILED_PRECONDITION"),
    Kind.INTERNAL: Status(errno.EIO, 500, "INTERNAL"),
}


class GravitonError(Exception):
    """Anything Graviton tells a caller. ``str()`` is one sentence that says what to do where it can."""

    kind: Kind = Kind.INTERNAL

    @property
    def errno(self) -> int:
        return STATUS[self.kind].errno

    @property
    def http_status(self) -> int:
        return STATUS[self.kind].http

    @property
    def grpc_code(self) -> str:
        return STATUS[self.kind].grpc


class NotFound(GravitonError):
    kind = Kind.NOT_FOUND


class Exists(GravitonError):
    kind = Kind.EXISTS


class NotADirectory(GravitonError):
    kind = Kind.NOT_A_DIRECTORY


class IsADirectory(GravitonError):
    kind = Kind.IS_A_DIRECTORY


class NotEmpty(GravitonError):
    kind = Kind.NOT_EMPTY


class Invalid(GravitonError):
    kind = Kind.INVALID


class NameTooLong(GravitonError):
    kind = Kind.NAME_TOO_LONG


class FileTooLarge(GravitonError):
    kind = Kind.FILE_TOO_LARGE


class NoSpace(GravitonError):
    kind = Kind.NO_SPACE


class QuotaExceeded(GravitonError):
    kind = Kind.QUOTA


class ReadOnly(GravitonError):
    kind = Kind.READ_ONLY


class NotPermitted(GravitonError):
    kind = Kind.NOT_PERMITTED


class AccessDenied(GravitonError):
    kind = Kind.ACCESS_DENIED


class NoAttribute(GravitonError):
    kind = Kind.NO_ATTRIBUTE


class OutOfRange(GravitonError):
    kind = Kind.RANGE


class TooManyLinks(GravitonError):
    kind = Kind.TOO_MANY_LINKS


class Loop(GravitonError):
    kind = Kind.LOOP


class CrossVolume(GravitonError):
    kind = Kind.CROSS_VOLUME


class Stale(GravitonError):
    kind = Kind.STALE


class Conflict(GravitonError):
    """A precondition (an expected version, an ETag) no longer holds."""

    kind = Kind.CONFLICT


class Busy(GravitonError):
    kind = Kind.BUSY


class Unsupported(GravitonError):
    kind = Kind.UNSUPPORTED


class Damaged(GravitonError):
    """Bytes are there but are not what their hash says, or not there at all. Never zeroes."""

    kind = Kind.DAMAGED


class Unavailable(GravitonError):
    """A database, a target or a daemon does not answer; the same call may succeed later."""

    kind = Kind.UNAVAILABLE


class MissingBlocks(GravitonError):
    """A batch named packs that are not live. Drop them from the index, put the blocks again, resend.

    The refusal is not recorded and uses no batch number.
    """

    kind = Kind.MISSING_BLOCKS

    def __init__(self, packs: tuple[int, ...]) -> None:
        super().__init__(f"packs {', '.join(map(str, packs))} can no longer be relied on")
        self.packs = packs


class Gap(GravitonError):
    """A batch arrived before its predecessor. ``last`` is the last number applied."""

    kind = Kind.GAP

    def __init__(self, last: int) -> None:
        super().__init__(f"batches after {last} are missing")
        self.last = last


class Fenced(GravitonError):
    """The session is no longer alive in the database; nothing of it may be applied any more."""

    kind = Kind.FENCED


class FormatError(GravitonError):
    """A volume, pack or database of a format this version does not read."""

    kind = Kind.FORMAT


class Locked(GravitonError):
    """Another process has the volume open."""

    kind = Kind.LOCKED


class Unauthenticated(GravitonError):
    """No token, or one that is expired or unknown."""

    kind = Kind.UNAUTHENTICATED


class Throttled(GravitonError):
    """A limit on calls, uploads or bytes is used up; wait ``retry_after`` seconds and try again."""

    kind = Kind.THROTTLED

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Detached(GravitonError):
    """The daemon does not know the session (it has started anew): attach again, and send again what it
    may have lost."""

    kind = Kind.DETACHED


class Internal(GravitonError):
    kind = Kind.INTERNAL


def _concrete(base: type[GravitonError]) -> dict[Kind, type[GravitonError]]:
    """Those of this module: others may give a kind to an exception of their own."""
    return {cls.kind: cls for cls in base.__subclasses__() if cls.__module__ == __name__}


def error_of(kind: Kind, message: str) -> GravitonError:
    """The exception for a kind that came over a wire or out of a recorded reply.

    ``MissingBlocks`` and ``Gap`` carry data of their own and are never recorded, so they do not come
    through here.
    """
    cls = _concrete(GravitonError).get(kind, Internal)
    if cls in (MissingBlocks, Gap):
        return Internal(message)
    return cls(message)
