"""What statfs shows: the targets' capacity, or what a quota makes of it."""

from __future__ import annotations

from typing import Final, NamedTuple

from gravitonfs.ports.namespace import Room, VolumeUsage
from gravitonfs.ports.target import Space

FRAGMENT: Final = 4096
"""A file takes no less of a target than this, as far as anybody can tell beforehand."""


class VolumeSpace(NamedTuple):
    """Bytes and inodes."""

    total: int
    free: int
    inodes: int
    free_inodes: int


def volume_space(space: Space, usage: VolumeUsage, room: Room | None) -> VolumeSpace:
    """With a limit of bytes the total is what is used below the directory and may still come; no more than
    the targets have room for."""
    total, free = space.capacity, space.free
    inodes, others = usage.inodes, space.free // FRAGMENT
    if room is not None and room.free_bytes is not None:
        free = min(free, room.free_bytes) if space.capacity else room.free_bytes
        total = room.used_bytes + free
    if room is not None and room.free_inodes is not None:
        inodes, others = room.used_inodes, room.free_inodes
    return VolumeSpace(total, free, inodes, others)
