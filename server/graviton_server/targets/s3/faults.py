"""What the SDK's errors mean to those who use a target."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
)
from urllib3.exceptions import HTTPError

from gravitonfs.errors import AccessDenied, Damaged, GravitonError, Internal, NoSpace, NotFound, Unavailable

TRANSPORT: Final = (BotoCoreError, HTTPError, OSError)
"""A connection that was refused, cut or timed out; botocore wraps most, not all."""

_NO_SPACE: Final = {
    "QuotaExceeded",
    "XMinioStorageFull",
    "XMinioAdminBucketQuotaExceeded",
    "InsufficientCapacity",
    "InsufficientStorage",
    "EntityTooLarge",
}
_DENIED: Final = {
    "AccessDenied",
    "AllAccessDisabled",
    "AccountProblem",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "403",
}
_DAMAGED: Final = {"BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch"}


def code_of(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def status_of(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def translate(error: Exception, what: str) -> GravitonError:
    """The port's error for ``error``; ``what`` names the object or the action."""
    if isinstance(error, GravitonError):
        return error
    if isinstance(error, ClientError):
        return _of_reply(error, what)
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return AccessDenied(
            f"{what}: no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role"
        )
    if isinstance(error, ParamValidationError):
        return Internal(f"{what}: {error}")
    return Unavailable(f"{what}: {_first_line(error)}")


def _of_reply(error: ClientError, what: str) -> GravitonError:
    code, status = code_of(error), status_of(error)
    text = f"{what}: {error.response.get('Error', {}).get('Message') or code}"
    if code == "NoSuchBucket":
        return Unavailable(f"{text}; create the bucket, or correct its name")
    if code in ("NoSuchKey", "404", "NotFound"):
        return NotFound(text)
    if code in _NO_SPACE or status == 507:
        return NoSpace(f"{text}; raise the quota of the bucket or free some space")
    if code in _DENIED or status in (401, 403):
        return AccessDenied(f"{text} ({code}); check the credentials, and the policy of the bucket")
    if code in _DAMAGED:
        return Damaged(f"{text} ({code})")
    if 400 <= status < 500 and status not in (408, 409, 429):
        return Internal(f"{text} ({code}, {status})")
    return Unavailable(f"{text} ({code})")


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


@contextmanager
def translated(what: str) -> Iterator[None]:
    try:
        yield
    except (ClientError, *TRANSPORT) as error:
        raise translate(error, what) from error
