"""Frames on the control socket: a length, a kind, and a msgpack message or plain bytes."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeAlias

import msgspec
from typing_extensions import Buffer

from gravitonfs.errors import Unavailable

PROTOCOL: Final = 2
SOCKET_NAME: Final = "control.sock"
DATA_FRAME: Final = 1 << 20
"""Bytes of a file in one frame, at most; the kernel's socket buffer is the back-pressure."""
MESSAGE_MAX: Final = 16 << 20

_HEAD = struct.Struct("<IB")
_MESSAGE, _DATA = 0, 1


class Hello(msgspec.Struct, tag="hello", frozen=True):
    """First on a connection, from both sides. ``role``: what the process was started as."""

    protocol: int
    pid: int
    role: str = ""


class Call(msgspec.Struct, tag="call", frozen=True):
    """``body`` is a request, encoded by itself; ``input`` says that data frames and an End follow."""

    name: str
    body: msgspec.Raw
    input: bool = False


class Event(msgspec.Struct, tag="event", frozen=True):
    """How far a long call has come (``total`` 0: not known), and with what."""

    done: float = 0
    total: float = 0
    what: str = ""


class Hole(msgspec.Struct, tag="hole", frozen=True):
    """Among data: so many zeroes, which take no room."""

    length: int


class End(msgspec.Struct, tag="end", frozen=True):
    """No more data from this side."""


class Done(msgspec.Struct, tag="done", frozen=True):
    result: msgspec.Raw


class Failed(msgspec.Struct, tag="failed", frozen=True):
    kind: str
    message: str


Message: TypeAlias = Hello | Call | Event | Hole | End | Done | Failed

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Message)


class Disconnected(Unavailable):
    """The other side of the control socket went away."""


class Wire:
    """One connection. One thread sends and one receives at a time; closing is the owner's."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def send(self, message: Message) -> None:
        payload = _encoder.encode(message)
        self._send(_HEAD.pack(len(payload), _MESSAGE) + payload)

    def send_data(self, data: Buffer) -> None:
        view = memoryview(data).cast("B")
        for start in range(0, view.nbytes, DATA_FRAME):
            piece = view[start : start + DATA_FRAME]
            self._send(_HEAD.pack(piece.nbytes, _DATA))
            self._send(piece)

    def receive(self) -> Message | bytearray:
        """The next message, or the next run of data; raises :class:`Disconnected` at the end."""
        head = self._exactly(_HEAD.size)
        length, kind = _HEAD.unpack(head)
        limit = DATA_FRAME if kind == _DATA else MESSAGE_MAX
        if kind not in (_MESSAGE, _DATA) or length > limit:
            raise Disconnected("the control socket got something that is no frame of its protocol")
        payload = self._exactly(length)
        if kind == _DATA:
            return payload
        try:
            message: Message = _decoder.decode(payload)
        except msgspec.DecodeError as error:
            raise Disconnected(f"the control socket got an unknown message: {error}") from error
        return message

    def close(self) -> None:
        self.sock.close()

    def _send(self, data: Buffer) -> None:
        try:
            self.sock.sendall(data)
        except TimeoutError as error:
            raise Disconnected("the process at the other end of the control socket hangs") from error
        except OSError as error:
            raise Disconnected("the process at the other end of the control socket is gone") from error

    def _exactly(self, count: int) -> bytearray:
        buffer = bytearray(count)
        view = memoryview(buffer)
        got = 0
        while got < count:
            try:
                more = self.sock.recv_into(view[got:])
            except TimeoutError as error:
                raise Disconnected("the process at the other end of the control socket hangs") from error
            except OSError as error:
                raise Disconnected("the process at the other end of the control socket is gone") from error
            if more == 0:
                raise Disconnected("the process at the other end of the control socket is gone")
            got += more
        return buffer


@contextmanager
def socket_address(data: Path) -> Iterator[str]:
    """The socket's address in a data directory, however long that one's path (the kernel allows 107)."""
    directory = os.open(data, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{SOCKET_NAME}"
    finally:
        os.close(directory)
