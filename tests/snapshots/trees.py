"""Trees that change, and volumes that are mounted."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

from harness.programs import Graviton
from rpc.test_serve import address


def build(top: Path) -> None:
    (top / "d" / "e").mkdir(parents=True)
    (top / "d" / "small").write_bytes(b"small")
    (top / "d" / "large").write_bytes(random.Random(1).randbytes(5 << 20))
    (top / "d" / "e" / "gone").write_bytes(b"soon removed")
    os.symlink("small", top / "d" / "link")
    os.setxattr(top / "d" / "small", "user.a", b"b")
    os.chmod(top / "d" / "small", 0o640)


def change(top: Path) -> None:
    with open(top / "d" / "large", "r+b") as file:
        file.seek(1 << 20)
        file.write(b"changed")
        file.truncate(3 << 20)
    (top / "d" / "small").write_bytes(b"another")
    (top / "d" / "e" / "gone").unlink()
    os.rename(top / "d" / "e", top / "moved")
    os.unlink(top / "d" / "link")
    os.setxattr(top / "d" / "small", "user.a", b"c")


def seen(top: Path) -> dict[str, object]:
    """What there is below, with what a change would be noticed by."""
    found: dict[str, object] = {}
    for folder, folders, files in os.walk(top):
        for name in [*folders, *files]:
            path = Path(folder, name)
            info = path.lstat()
            what: object = None
            if path.is_symlink():
                what = os.readlink(path)
            elif path.is_file():
                what = path.read_bytes(), os.listxattr(path), info.st_size
            found[str(path.relative_to(top))] = info.st_mode, info.st_mtime_ns, what
    return found


class Served:
    """A daemon, and a mount of it that has its volume to itself; or a mount of a directory."""

    def __init__(self, graviton: Graviton, scratch: Path, kind: str) -> None:
        data, self.point = scratch / "data", scratch / "mnt"
        if kind == "directory":
            graviton.run("init", data)
            self.source = str(data)
        else:
            running = graviton.start(
                "serve", "--data", data, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"
            )
            self.source = f"graviton://{address(running.ready_line(), 'grpc')}/main"
        self.mount: Callable[..., object] = lambda point, *options: graviton.mount(
            self.source,  # type: ignore[arg-type]
            point,
            *options,
        )
        self.mount(self.point)
