"""Files of an open volume, written and read as a mount does it."""

from __future__ import annotations

import random

from gravitonfs.content.volume import Volume
from gravitonfs.ports.ops import Attr, Create

MIB = 1 << 20


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def write(volume: Volume, name: str, data: bytes, *, durable: bool = False) -> None:
    """Created, written piece by piece, closed."""
    attr = volume.submit_for_attr(
        Create(volume.namespace.root, name.encode(), volume.new_ino(), 0o100644, 0, 0)
    )
    writer = volume.writer(attr)
    for start in range(0, len(data), MIB):
        writer.write(start, data[start : start + MIB])
        volume.shared.dirty.wait(60)
    writer.flush(seal=True, durable=durable)


def lookup(volume: Volume, name: str) -> Attr:
    attr = volume.namespace.lookup(volume.namespace.root, name.encode())
    assert attr is not None
    return attr


def read(volume: Volume, name: str) -> bytes:
    attr = lookup(volume, name)
    return bytes(volume.reader(attr).read(0, attr.size))
