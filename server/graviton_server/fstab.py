"""``mount.graviton``: what mount(8) runs for ``mount -t graviton`` and for lines of /etc/fstab.

Called as ``mount.graviton SOURCE DIR [-sfnv] [-t TYPE] [-o OPTIONS]``; see mount(8), "External helpers".
umount(8) runs ``umount.fuse.graviton DIR [-flnrv]``, as the kernel knows the type by that name, where it has
noted anything of the mount itself (``_netdev``, ``nofail``, ``x-...``); else it does not look for a helper.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Final, NoReturn

import click

from graviton_server.cli.options import NAMES

# mount(8), "Exit status".
_USAGE, _SYSTEM, _FAILURE = 1, 2, 32

_OF_MOUNT_ITSELF: Final = frozenset((
    "defaults", "auto", "noauto", "user", "nouser", "users", "owner", "group", "nofail", "_netdev",
    "async", "sync", "dirsync", "exec", "suid", "dev", "atime", "noatime", "diratime", "nodiratime",
    "relatime", "norelatime", "strictatime", "nostrictatime", "lazytime", "nolazytime",
    "mand", "nomand", "iversion", "noiversion", "silent", "loud",
))  # fmt: skip
"""What concerns mount(8), what is so anyway (access times are not kept), and what takes back no default."""
_WITH_VALUES: Final = ("x-", "X-", "comment=", "user=", "helper=", "uhelper=")


def translated(options: str, *, sloppy: bool = False) -> Iterator[str]:
    """Those that 'graviton mount' is to judge. ``sloppy``: without any that it does not know."""
    for option in options.split(","):
        if not option or option in _OF_MOUNT_ITSELF or option.startswith(_WITH_VALUES):
            continue
        name, equals, _ = option.partition("=")
        if not sloppy or name + equals in NAMES:
            yield option


@click.command(name="mount.graviton", help="Mount SOURCE on DIRECTORY, for mount(8) and /etc/fstab.")
@click.argument("source")
@click.argument("directory")
@click.option("-o", "options", multiple=True, help="Mount options, those of fstab(5) among them.")
@click.option("-s", "sloppy", is_flag=True, help="Tolerate unknown options.")
@click.option("-f", "fake", is_flag=True, help="Everything but mounting.")
@click.option("-n", "_no_mtab", is_flag=True, help="Without effect.")
@click.option("-v", "_verbose", is_flag=True, help="Without effect.")
@click.option("-t", "_kind", help="Without effect.")
def mount_graviton(
    source: str, directory: str, options: tuple[str, ...], sloppy: bool, fake: bool, **_: object
) -> int:
    from graviton_server.__main__ import USAGE, run
    from graviton_server.cli.options import parse

    wanted = ",".join(options)
    if "remount" in wanted.split(","):
        raise click.UsageError("a mount cannot be changed while it is there: unmount it, and mount it again")
    passed = list(translated(wanted, sloppy=sloppy))
    if fake:
        parse(passed)
        return 0
    status = run(["mount", *(part for option in passed for part in ("-o", option)), "--", source, directory])
    return {0: 0, USAGE: _USAGE}.get(status, _FAILURE)


@click.command(
    name="umount.fuse.graviton", help="Unmount DIRECTORY once everything is stored, for umount(8)."
)
@click.argument("directory")
@click.option("-l", "lazy", is_flag=True, help="Take it away now; it ends when nobody uses it any more.")
@click.option("-f", "force", is_flag=True, help="Also where nobody answers.")
@click.option("-n", "_no_mtab", is_flag=True, help="Without effect.")
@click.option("-r", "_read_only", is_flag=True, help="Without effect.")
@click.option("-v", "_verbose", is_flag=True, help="Without effect.")
@click.option("-t", "_kind", help="Without effect.")
def umount_graviton(directory: str, lazy: bool, force: bool, **_: object) -> int:
    from graviton_server.__main__ import run

    flags = [*(["--lazy"] if lazy else []), *(["--force"] if force else [])]
    return _FAILURE if run(["umount", *flags, "--", directory]) else 0


def main() -> NoReturn:
    _run(mount_graviton)


def umount_main() -> NoReturn:
    _run(umount_graviton)


def _run(command: click.Command) -> NoReturn:
    try:
        sys.exit(command.main(standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(_USAGE)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(_SYSTEM)
