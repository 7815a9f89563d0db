"""Errors as gRPC tells them: the status of the one table, the rest in trailing metadata."""

from __future__ import annotations

from typing import Final

import grpc

from gravitonfs.errors import GravitonError
from gravitonfs.ports.wire import encode_error

DETAILS: Final = "graviton-error-bin"

_CODES: Final = {code.name: code for code in grpc.StatusCode}
_LONGEST: Final = 1000


def code_of(error: GravitonError) -> grpc.StatusCode:
    return _CODES[error.grpc_code]


def message_of(error: GravitonError) -> str:
    """Headers are small: a long message is cut."""
    text = str(error)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."


def trailer_of(error: GravitonError) -> tuple[tuple[str, bytes], ...]:
    return ((DETAILS, encode_error(error)),)
