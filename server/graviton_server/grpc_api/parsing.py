"""Bytes that are no message are an answer of the call, not an error of the server.

gRPC itself would log a traceback for each, whoever sent it, and answer INTERNAL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from google.protobuf.message import DecodeError, Message

from graviton_server.grpc_api.put_requests import PutBlocks
from gravitonfs.errors import Invalid
from gravitonfs.rpc.graviton.v1 import blocks_pb2 as pb

_MALFORMED: Final = object()


_OWN: Final[dict[type[Message], Any]] = {pb.PutRequest: PutBlocks}


def parser_of(kind: type[Message]) -> Callable[[bytes], Any]:
    """What ``whole`` takes."""
    reads = _OWN.get(kind, kind)

    def parse(data: bytes) -> Any:
        try:
            return reads.FromString(data)
        except DecodeError:
            return _MALFORMED

    return parse


def whole(request: Any) -> Any:
    if request is _MALFORMED:
        raise Invalid("the message is malformed")
    return request


def all_whole(requests: Iterator[Any]) -> Iterator[Any]:
    return map(whole, requests)
