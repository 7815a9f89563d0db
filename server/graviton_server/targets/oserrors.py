"""What the operating system's errors mean to those who use a target."""

from __future__ import annotations

import errno

from gravitonfs.errors import Damaged, GravitonError, NoSpace, NotFound, ReadOnly, Unavailable

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}


def is_no_space(error: OSError) -> bool:
    return error.errno in _NO_SPACE


def translate(error: OSError, what: str) -> GravitonError:
    """The port's error for ``error``; ``what`` names the object or the action."""
    text = f"{what}: {error.strerror or error}"
    if error.errno in _NO_SPACE:
        return NoSpace(f"{text}; free some space on the target")
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return NotFound(text)
    if error.errno == errno.EROFS:
        return ReadOnly(text)
    if error.errno in (errno.EIO, errno.EBADMSG, errno.EUCLEAN):
        return Damaged(text)
    return Unavailable(text)
