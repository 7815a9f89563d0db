"""``python -m crash.forgetfs BACKING DIR``: serve until unmounted. A clean unmount forgets nothing."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import pyfuse3
import trio

from crash.forgetfs.disk import Disk
from crash.forgetfs.operations import ForgetFs


def main() -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    operations = ForgetFs(Disk(Path(sys.argv[1])))
    options = {*pyfuse3.default_options, "fsname=forgetfs", "allow_other"}
    pyfuse3.init(operations, sys.argv[2], options)
    try:
        trio.run(pyfuse3.main)
    finally:
        pyfuse3.close(unmount=True)
        if not operations.cut:
            operations.disk.settle()


if __name__ == "__main__":
    main()
