"""``python -m crash.writer DIR SEED``: carries out a history, tells each acknowledgement on its output.

Beside it another thread writes files that nobody syncs, so that there is always something to forget.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from crash.history import operations


def noise(root: Path) -> None:
    """Files without any promise; their names begin with a dot and nobody looks at them later."""
    number = 0
    try:
        while True:
            path = root / f".noise-{number % 20}"
            path.write_bytes(os.urandom(50_000 * (number % 7)))
            if number % 3 == 0:
                path.rename(root / f".noise-{number % 11}-moved")
            number += 1
    except OSError:
        return  # the power went


def main() -> None:
    root, seed = Path(sys.argv[1]), int(sys.argv[2])
    root.mkdir()
    descriptor = os.open(root.parent, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    threading.Thread(target=noise, args=(root,), daemon=True).start()
    print(0, flush=True)
    try:
        for number, (_, operation) in enumerate(operations(seed), 1):
            operation.carry_out(root)
            print(number, flush=True)
    except OSError:
        return


if __name__ == "__main__":
    main()
