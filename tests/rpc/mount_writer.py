"""Writes on a mount until told to stop, and compares: ``mount_writer.py MOUNT STOPFILE``.

A process of its own: who starts daemons must have no file of the mount open, as a child closes what it
inherits, and closing a file of a mount waits for the daemon.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    point, stop = Path(sys.argv[1]), Path(sys.argv[2])
    written: dict[str, bytes] = {}
    with open(point / "kept", "w+b", buffering=0) as kept:
        os.unlink(point / "kept")
        number = 0
        while not stop.exists() or number < 50:
            data = os.urandom([100, 10_000, 3_000_000][number % 3])
            with open(point / f"f{number}", "wb") as file:
                file.write(data)
                if number % 4 == 0:
                    file.flush()
                    os.fsync(file.fileno())
            written[f"f{number}"] = data
            kept.write(b"%08d" % number)
            number += 1
        for name, data in written.items():
            assert (point / name).read_bytes() == data, name
        kept.seek(0)
        assert kept.read() == b"".join(b"%08d" % n for n in range(number))
    assert sorted(os.listdir(point)) == sorted(written)
    print(f"{number} files")


if __name__ == "__main__":
    main()
