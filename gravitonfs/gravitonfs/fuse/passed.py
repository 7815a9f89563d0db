"""A FUSE device that somebody else has opened and mounted: a mounter, or who started this process."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Collection
from pathlib import Path
from typing import Final

from gravitonfs.errors import Unavailable
from gravitonfs.fuse.mounter import ALLOW_OTHER, FAILED, FLAGS, LIVE

_ANSWERS_WITHIN: Final = 60.0
_LONGEST: Final = 4096
_DESCRIPTOR: Final = re.compile(r"/dev/fd/\d+")


def is_descriptor(mountpoint: Path) -> bool:
    """libfuse serves an open device under this name; where it is mounted is not known here."""
    return _DESCRIPTOR.fullmatch(str(mountpoint)) is not None


class Passed:
    """The connection to a mounter, which keeps the mount as long as this is open."""

    def __init__(self, place: Path, options: Collection[str]) -> None:
        """``options``: of the mount, as in ``-o``; those that concern the kernel go to the mounter."""
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._connection.settimeout(_ANSWERS_WITHIN)
        wanted = [one for one in options if one in FLAGS or one == ALLOW_OTHER]
        try:
            self._connection.connect(str(place))
            self._connection.send(",".join(wanted).encode() or b",")
            said, descriptors, _, _ = socket.recv_fds(self._connection, _LONGEST, 1)
        except OSError as error:
            self.close()
            reason = error.strerror or "no answer in time"
            raise Unavailable(f"the mounter at {place} cannot be asked: {reason}") from error
        if not descriptors:
            self.close()
            reason = said.removeprefix(FAILED).decode(errors="replace") or "it has ended"
            raise Unavailable(f"the mounter at {place} does not mount: {reason}")
        os.set_inheritable(descriptors[0], False)
        self.device = f"/dev/fd/{descriptors[0]}"
        """What libfuse closes itself."""

    def live(self) -> None:
        """Tell that requests are answered."""
        try:
            self._connection.send(LIVE)
        except OSError:
            pass  # the mounter has ended; the mount is served on

    def close(self) -> None:
        """The mount goes."""
        self._connection.close()
