"""Messages that carry megabytes, put together in one copy.

They are protocol buffers like all others: a message is the concatenation of its fields, so the small ones
are left to the library and the large ones follow. The library itself moves what it writes several times, at
2.3 s of processor time a GiB where this takes 0.05.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from typing_extensions import Buffer

_BYTES: Final = 2
"""The wire type of a field whose length comes first."""


class Framed:
    """A message in parts; whoever sends messages takes it for one."""

    __slots__ = ("_parts",)

    def __init__(self, head: bytes = b"", parts: Iterable[Buffer] = ()) -> None:
        """``head``: the fields that the library has written."""
        self._parts: list[Buffer] = [head, *parts]

    def add_bytes(self, field: int, data: Buffer) -> None:
        """A field of bytes; ``data`` is read when the message is sent."""
        self._parts += (_varint(field << 3 | _BYTES) + _varint(memoryview(data).nbytes), data)

    def add_block(self, field: int, id: bytes, codec: int, plain_length: int, payload: Buffer) -> None:
        """A field that is a ``graviton.v1.Block``."""
        size = memoryview(payload).nbytes
        head = b"\x0a%b%b" % (_varint(len(id)), id)
        if codec:
            head += b"\x10" + _varint(codec)
        if plain_length:
            head += b"\x18" + _varint(plain_length)
        if size:
            head += b"\x22" + _varint(size)
        self._parts += (_varint(field << 3 | _BYTES) + _varint(len(head) + size) + head, payload)

    def SerializeToString(self) -> bytes:  # named as the library's
        return b"".join(self._parts)


def _varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    result = bytearray()
    while value >= 0x80:
        result.append(value & 0x7F | 0x80)
        value >>= 7
    result.append(value)
    return bytes(result)
