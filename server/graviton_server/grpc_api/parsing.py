"""Bytes that are no message are an answer of the call, not an error of the server.

gRPC itself would log a traceback for each, whoever sent it, and answer INTERNAL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from google.protobuf.message import DecodeError, Message

from gravitonfs.errors import Invalid

_MALFORMED: Final = object()


def parser_of(kind: type[Message]) -> Callable[[bytes], Any]:
    """What ``whole`` takes."""

    def parse(data: bytes) -> Any:
        try:
            return kind.FromString(data)
        except DecodeError:
            return _MALFORMED

    return parse


def whole(request: Any) -> Any:
    if request is _MALFORMED:
        raise Invalid("the message is malformed")
    return request


def all_whole(requests: Iterator[Any]) -> Iterator[Any]:
    return map(whole, requests)
