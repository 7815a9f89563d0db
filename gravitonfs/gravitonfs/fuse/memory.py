"""The C allocator, set up for buffers of megabytes that come and go."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8


def keep_large_buffers() -> None:
    """Let freed buffers be used again instead of going back to the kernel.

    Every request of 1 MiB is a bytes object; by default glibc maps it anew, and touching new memory
    costs more than the copy (350 MB/s in a virtual machine). glibc's mallopt(3); elsewhere nothing.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return
    mallopt(_M_MMAP_THRESHOLD, 32 << 20)
    mallopt(_M_TRIM_THRESHOLD, 256 << 20)
    mallopt(_M_ARENA_MAX, 2)
