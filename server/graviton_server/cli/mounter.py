"""graviton mounter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from graviton_server.cli.params import DIRECTORY, FILE
from graviton_server.cli.serving import announce


class _User(click.ParamType[tuple[int, int]]):
    """``UID:GID``."""

    name = "uid:gid"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        uid, colon, gid = str(value).partition(":")
        if not colon or not uid.isdecimal() or not gid.isdecimal():
            self.fail(f"{value!r} is no user; expected UID:GID, such as 10001:10001", param, ctx)
        return int(uid), int(gid)


@click.command()
@click.argument("socket", type=FILE)
@click.argument("directory", type=DIRECTORY)
@click.option("--user", type=_User(), help="Who may ask for the mount, beside the user of this process.")
@click.option("--allow-other", is_flag=True, help="Let mounts be for all users, if they ask for it.")
def mounter(socket: str, directory: str, user: tuple[int, int] | None, allow_other: bool) -> None:
    """Mount on DIRECTORY for processes that may not: 'graviton mount -o mounter=SOCKET'.

    Opens /dev/fuse, mounts, and passes the descriptor to who asks at SOCKET; needs no network and no token.
    When the process that serves the mount ends, even by a crash, the mount is taken away, and the next one
    gets a new mount. Needs the rights to mount (CAP_SYS_ADMIN).
    """
    from gravitonfs.fuse.mounter import Mounter

    place, mountpoint = Path(socket).absolute(), Path(directory).absolute()
    Mounter(place, mountpoint, user=user, allow_other=allow_other).serve(lambda: announce(f"mounter={place}"))
