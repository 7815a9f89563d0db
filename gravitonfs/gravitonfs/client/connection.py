"""Channels to a daemon: made on first use (after a fork, that is), made anew where another address is tried.

Two channels, so that a look-up does not wait behind megabytes of blocks. ``_lock`` guards them.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar

import grpc
from google.protobuf.message import Message

from gravitonfs.client.endpoint import Endpoint
from gravitonfs.client.failures import failure_of
from gravitonfs.core.frames import Framed
from gravitonfs.errors import Fenced, Invalid, Unavailable

log = logging.getLogger("graviton.client")

M = TypeVar("M")
M_co = TypeVar("M_co", covariant=True)
Sendable = Message | Framed
Metadata = tuple[tuple[str, str], ...]

MESSAGE_MAX: Final = 256 << 20
_OPTIONS: Final = [
    ("grpc.max_receive_message_length", MESSAGE_MAX),
    ("grpc.max_send_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
]


class Answer(Protocol[M_co]):
    """A class of messages, or what reads them its own way."""

    def FromString(self, data: bytes, /) -> M_co: ...


class Channel:
    """One channel and the calls made of it."""

    def __init__(self, endpoint: Endpoint, address: str) -> None:
        if endpoint.tls:
            self._channel = grpc.secure_channel(address, _credentials(endpoint), options=_OPTIONS)
        else:
            self._channel = grpc.insecure_channel(address, options=_OPTIONS)
        self._calls: dict[str, Any] = {}

    def unary(self, path: str, reply: Answer[M]) -> Any:
        call = self._calls.get(path)
        if call is None:
            call = self._calls[path] = self._channel.unary_unary(path, _serialize, reply.FromString)
        return call

    def stream_out(self, path: str, reply: Answer[M]) -> Any:
        return self._channel.unary_stream(path, _serialize, reply.FromString)

    def stream_in(self, path: str, reply: Answer[M]) -> Any:
        return self._channel.stream_unary(path, _serialize, reply.FromString)

    def close(self) -> None:
        self._channel.close()


def _serialize(message: Sendable) -> bytes:
    return message.SerializeToString()


def _credentials(endpoint: Endpoint) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        _read(endpoint.ca_file), _read(endpoint.key_file), _read(endpoint.cert_file)
    )


def _read(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}") from error


class Connection:
    """Calls to whichever of the daemons answers. Thread-safe. Errors are those of the hierarchy."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._lock = threading.Lock()
        self._pid = 0
        self._turn = 0
        self._channels: dict[str, Channel] = {}
        self._closed = False
        self._joined = False
        self._token = _Token(endpoint)

    def join(self) -> None:
        """All calls go by one connection from now on; small ones may have to wait for large messages.

        Behind a load balancer two may end at different daemons, and what one of them was sent the other
        does not let us name."""
        if not self._joined:
            self._joined = True
            log.info("one connection carries all from now on: two lead to different daemons")

    def _channel(self, purpose: str) -> tuple[Channel, int]:
        if self._joined:
            purpose = "calls"
        with self._lock:
            if self._closed:
                raise Fenced("the connection is closed")  # nobody is to wait for it to answer again
            if self._pid != os.getpid():  # what a fork has copied belongs to the other process
                self._channels, self._pid = {}, os.getpid()
            found = self._channels.get(purpose)
            if found is None:
                addresses = self.endpoint.addresses
                found = Channel(self.endpoint, addresses[self._turn % len(addresses)])
                self._channels[purpose] = found
            return found, self._turn

    def call(
        self,
        path: str,
        request: Sendable,
        reply: Answer[M],
        *,
        timeout: float,
        bulk: bool = False,
        token: str | None = None,
    ) -> M:
        """One unary call. Not tried again here. ``token``: of somebody else, in place of ours."""
        channel, turn = self._channel("bulk" if bulk else "calls")
        try:
            metadata = self._token.metadata() if token is None else _bearer(token)
            answer: M = channel.unary(path, reply)(request, timeout=timeout, metadata=metadata)
        except grpc.RpcError as error:
            raise self._failed(error, turn) from error
        return answer

    def begin(self, path: str, request: Sendable, reply: Answer[M], *, timeout: float) -> Pending[M]:
        """A unary call of the bulk channel that goes on while others are begun."""
        channel, turn = self._channel("bulk")
        future = channel.unary(path, reply).future(request, timeout=timeout, metadata=self._token.metadata())
        return Pending(self, future, turn)

    def stream(
        self,
        path: str,
        request: Message,
        reply: Answer[M],
        *,
        timeout: float | None = None,
        bulk: bool = False,
    ) -> Stream[M]:
        channel, turn = self._channel("bulk" if bulk else "calls")
        calls = channel.stream_out(path, reply)(request, timeout=timeout, metadata=self._token.metadata())
        return Stream(self, calls, turn)

    def upload(
        self, path: str, requests: Iterator[Message], reply: Answer[M], *, timeout: float | None = None
    ) -> M:
        channel, turn = self._channel("bulk")
        try:
            call = channel.stream_in(path, reply)
            answer: M = call(requests, timeout=timeout, metadata=self._token.metadata())
        except grpc.RpcError as error:
            raise self._failed(error, turn) from error
        return answer

    def _failed(self, error: grpc.RpcError, turn: int) -> Exception:
        failure = failure_of(error)
        if isinstance(failure, Unavailable) and len(self.endpoint.addresses) > 1:
            self._turn_to_next(turn)
        return failure

    def _turn_to_next(self, turn: int) -> None:
        """Unless somebody else has done so since ``turn``. What runs on the old channels fails by itself."""
        with self._lock:
            if self._turn != turn:
                return
            self._turn += 1
            self._channels = {}
            address = self.endpoint.addresses[self._turn % len(self.endpoint.addresses)]
        log.info("trying the daemon at %s", address)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            channels, self._channels = list(self._channels.values()), {}
            ours = self._pid == os.getpid()
        if ours:
            for channel in channels:
                channel.close()


class Pending(Generic[M]):
    """A call that is under way."""

    def __init__(self, connection: Connection, future: Any, turn: int) -> None:
        self._connection = connection
        self._future = future
        self._turn = turn

    def result(self) -> M:
        try:
            answer: M = self._future.result()
        except grpc.RpcError as error:
            raise self._connection._failed(error, self._turn) from error
        except grpc.FutureCancelledError as error:
            raise Unavailable("the call was cancelled") from error
        return answer

    def cancel(self) -> None:
        self._future.cancel()


class Stream(Generic[M]):
    """Messages as they come; ``cancel`` from any thread ends it."""

    def __init__(self, connection: Connection, calls: Any, turn: int) -> None:
        self._connection = connection
        self._calls = calls
        self._turn = turn

    def __iter__(self) -> Iterator[M]:
        try:
            yield from self._calls
        except grpc.RpcError as error:
            raise self._connection._failed(error, self._turn) from error

    def cancel(self) -> None:
        self._calls.cancel()


class _Token:
    """The token, from its file where there is one."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._file = endpoint.token_file
        self._stamp: tuple[int, int] | None = None
        self._metadata: Metadata = _bearer(endpoint.token)

    def metadata(self) -> Metadata:
        if self._file is not None:
            try:
                info = os.stat(self._file)
                stamp = (info.st_mtime_ns, info.st_ino)
                if stamp != self._stamp:
                    self._metadata = _bearer(self._file.read_text().strip())
                    self._stamp = stamp
            except OSError as error:
                if self._stamp is None:
                    raise Invalid(f"the token file {self._file} cannot be read: {error.strerror}") from error
        return self._metadata


def _bearer(token: str | None) -> Metadata:
    return (("authorization", f"Bearer {token}"),) if token else ()
