"""A process that changes a volume whose maintenance never rests, until it is killed.

It tells on standard output, one line each, what is durable: ``+ name seed size`` and ``- name``; and
before that ``? name`` for what it is about to change.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

from maintenance.rig import AT_ONCE, Rig, noise

SIZES = (2_000, 60_000, 400_000, 900_000, 3_000_000)


def tell(*words: object) -> None:
    print(*words, flush=True)


def main(path: str, seed: int) -> None:
    rig = Rig(Path(path), background=True, settings=AT_ONCE)
    choice = random.Random(seed)
    tell("ready")
    while True:
        name = f"f{choice.randrange(12)}"
        tell("?", name)
        if choice.random() < 0.4:
            if rig.volume.namespace.lookup(rig.root, name.encode()) is not None:
                rig.unlink(name)
                rig.volume.commit()
            tell("-", name)
        else:
            content, size = choice.randrange(20), choice.choice(SIZES)
            rig.put(name, noise(size, content))
            tell("+", name, content, size)
        if choice.random() < 0.3:
            rig.maintenance.wake("drain", "reap", "collect")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
