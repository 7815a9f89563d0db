"""Reading a stream of messages with a bound on the wait for each."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Final, Generic, TypeVar

import grpc

from gravitonfs.errors import Unavailable

T = TypeVar("T")
_AHEAD: Final = 1


class Patient(Generic[T]):
    """The messages of a stream, with a bound on the wait for the next one.

    A thread of its own reads them, as reading cannot be interrupted; it ends with the call.
    """

    def __init__(self, messages: Iterator[T], timeout: float) -> None:
        self._messages = messages
        self._timeout = timeout
        self._queue: queue.Queue[T | BaseException | None] = queue.Queue(_AHEAD)
        self._closed = threading.Event()
        threading.Thread(target=self._read, name="upload-reader", daemon=True).start()

    def _read(self) -> None:
        last: BaseException | None = None
        try:
            for message in self._messages:
                if not self._put(message):
                    return
        except grpc.RpcError as error:
            last = error
        except Exception as error:  # noqa: BLE001  # told where the messages are used
            last = error
        self._put(last)

    def _put(self, message: T | BaseException | None) -> bool:
        while not self._closed.is_set():
            try:
                self._queue.put(message, timeout=0.5)
            except queue.Full:
                continue
            return True
        return False

    def __iter__(self) -> Iterator[T]:
        while True:
            try:
                message = self._queue.get(timeout=self._timeout)
            except queue.Empty:
                raise Unavailable(f"nothing came for {self._timeout:g} s: the upload is given up") from None
            if message is None:
                return
            if isinstance(message, BaseException):
                raise message
            yield message

    def close(self) -> None:
        self._closed.set()
