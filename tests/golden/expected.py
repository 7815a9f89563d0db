"""What is in the golden volume; the contents are made from SHAKE-128, so nothing but this file says."""

from __future__ import annotations

import hashlib

DIRECTORIES = [b"dir", b"dir/deeper", b"dir/\xff\xfe"]
FILES = {b"small": 11, b"empty": 0, b"dir/text": 90_000, b"dir/deeper/one-block": 64 << 10, b"large": 300_001}
HARD_LINK = b"dir/small-too"
SYMLINK = (b"link", b"dir/deeper/one-block")
XATTR = (b"user.golden", b"\x00value\xff")
CLONE_PATCH = (100_000, b"changed in the clone")
CLONE_END = (300_001 + 70 * 1024 * 1024, b"behind a hole")


def contents(path: bytes) -> bytes:
    size = FILES[path]
    if path == b"dir/text":
        return (b"the quick brown fox jumps over the lazy dog\n" * (size // 44 + 1))[:size]
    return hashlib.shake_128(path).digest(size) if size else b""


def compressible(path: bytes) -> bytes:
    """As long, and small in an archive: what is in the volumes of ``make_release.py``."""
    line = hashlib.shake_128(path).hexdigest(40).encode() + b"\n"
    return (line * (FILES[path] // len(line) + 1))[: FILES[path]]


KEPT = "kept"
"""A snapshot that has ``LOST``, which is in the trash now, too."""
LOST = (b"lost", b"lost bytes")
QUOTA = (1 << 30, 1000)
"""Of ``dir/deeper``."""
SECOND = "second"
"""Another volume."""
