"""Writes files on a mount until a file says stop: ``writer.py FOLDER SIZE STOPFILE``. A line for each that
was acknowledged, with its digest, or with what it failed with.

A process of its own: who starts daemons must have no file of the mount open, as a child closes what it
inherits, and closing a file of a mount waits for the daemon.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path


def main() -> None:
    folder, size, stop = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    at = 0
    while not stop.exists():
        name, body = f"w{at}", os.urandom(size)
        at += 1
        try:
            with (folder / name).open("wb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            print(f"failed {name} {error}", flush=True)
            continue
        print(f"stored {name} {hashlib.sha256(body).hexdigest()}", flush=True)


if __name__ == "__main__":
    main()
