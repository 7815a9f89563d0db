"""A process that fills a disk cache until it is killed: ``python -m content.cache_filler FOLDER SEED``.

Prints a line whenever some of what it offered can be read.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path

from gravitonfs.content.diskcache import cache as module
from gravitonfs.content.diskcache.cache import CacheSettings, DiskCache
from gravitonfs.ports.blocks import Block
from gravitonfs.testing.blockstore_suite import raw
from harness.waiting import wait_until

STORE = bytes(range(16))
_COUNT = 2000


def filled(seed: int) -> Iterator[Block]:
    chooser = random.Random(seed)
    for _ in range(_COUNT):
        yield raw(chooser.randbytes(chooser.choice((500, 20_000, 150_000))))


def main(folder: Path, seed: int) -> None:
    module._IDLE = 0.001  # type: ignore[misc]
    cache = DiskCache(CacheSettings(folder, 64 << 20, reserve=0), STORE)
    while True:
        for number, block in enumerate(filled(seed)):
            cache.offer(((block.id, bytes(block.payload)),), missed=1)
            if number % 20 == 0:
                wait_until(lambda block=block: cache.find((block.id,))[0], "a block to be kept")  # type: ignore[misc]
                print(number, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
