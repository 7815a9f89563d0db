"""graviton umount."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from graviton_server.cli import output
from graviton_server.cli.noted import noted
from graviton_server.cli.params import DIRECTORY
from graviton_server.cli.places import mount_of
from graviton_server.control.client import NobodyThere, OwnerGone, RemoteCaller
from graviton_server.control.requests import Drain
from graviton_server.control.wire import Event
from gravitonfs.core.units import format_size
from gravitonfs.errors import Busy, GravitonError, Invalid, Unavailable

_ENDS_WITHIN = 600.0
_TELL_EVERY = 1.0


@click.command()
@click.argument("directory", type=DIRECTORY)
@click.option("--lazy", "-l", is_flag=True, help="Although it is in use: it goes when the last user does.")
@click.option("--force", "-f", is_flag=True, help="Although its process does not answer.")
def umount(directory: str, lazy: bool, force: bool) -> None:
    """Unmount DIRECTORY; returns when everything written to it is stored.

    When 'graviton up' serves it, that process ends too.
    """
    mountpoint = os.path.abspath(directory)
    told = _ask(mountpoint, force)
    if told is None:
        _take_away(mountpoint, lazy=True)
        return
    with ExitStack() as opened:
        owner = _owner(told)
        if owner is not None:
            opened.callback(owner.close)
        gone = _pidfd(told["pid"])
        if gone is not None:
            opened.callback(os.close, gone)
        _take_away(mountpoint, lazy=lazy)
        if lazy:
            return
        if owner is not None:
            _watch(owner, told["mountpoint"])
        if gone is not None:
            _wait_for_end(gone, told)
            _look_into_journal(told)


def _ask(mountpoint: str, force: bool) -> dict[str, Any] | None:
    """What the mount's process says of it; None when there is nobody behind the mount."""
    if force:
        if not _is_mount(mountpoint):
            raise Invalid(f"nothing is mounted on {mountpoint}")
        return None
    told = noted(mountpoint) if _is_mount(mountpoint) == "fuse.graviton" else None
    if told is None and os.path.ismount(mountpoint):
        told = mount_of(mountpoint)
    if told is None:
        if _is_mount(mountpoint) == "fuse.graviton":
            return None
        raise Invalid(f"no volume is mounted on {mountpoint}")
    return told


def _is_mount(mountpoint: str) -> str:
    from gravitonfs.fuse.mountpoint import fs_type

    return fs_type(Path(mountpoint))


def _owner(told: dict[str, Any]) -> RemoteCaller | None:
    if "data" not in told:
        return None  # a mount of a daemon: its process stores what is left and ends
    try:
        return RemoteCaller(Path(told["data"]))
    except (NobodyThere, GravitonError):
        return None


def _pidfd(pid: int) -> int | None:
    """Something to wait on until the process has ended, even if its number is used again."""
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def _take_away(mountpoint: str, *, lazy: bool) -> None:
    tool = shutil.which("fusermount3") or shutil.which("fusermount")
    if tool is None:
        raise Unavailable("fusermount3 is not installed: install the package fuse3")
    command = [tool, "-u", *(["-z"] if lazy else []), "--", mountpoint]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        if "busy" in done.stderr.lower():
            raise Busy(
                f"{mountpoint} is in use{_users(mountpoint)}: stop that first, or unmount it with --lazy"
            )
        raise Unavailable(f"{mountpoint} cannot be unmounted: {done.stderr.strip()}")


def _users(mountpoint: str) -> str:
    """Processes with a file, a program or their current directory in the mount, as far as one may see."""
    found = [pid for pid in os.listdir("/proc") if pid.isdecimal() and _uses(f"/proc/{pid}", mountpoint)]
    return f" by process {', '.join(found[:8])}" if found else ""


def _uses(process: str, mountpoint: str) -> bool:
    inside = mountpoint.rstrip("/") + "/"
    try:
        links = ["cwd", "exe", *(f"fd/{fd}" for fd in os.listdir(f"{process}/fd"))]
    except OSError:
        return False  # ended meanwhile, or another user's
    for link in links:
        try:
            if (os.readlink(f"{process}/{link}") + "/").startswith(inside):
                return True
        except OSError:
            continue
    return False


def _watch(owner: RemoteCaller, mountpoint: str) -> None:
    """Show how much is left; the connection breaks when the process ends, which is fine."""
    try:
        with output.progress("storing") as on_event:
            owner.call(Drain(mount=mountpoint), on_event=on_event if sys.stderr.isatty() else _Lines())
    except OwnerGone:
        pass
    owner.close()  # the process waits for its callers before it ends


def _look_into_journal(told: dict[str, Any]) -> None:
    """A mount with durability=local whose daemon did not answer leaves its journal for the next one."""
    if not told.get("journal"):
        return
    from graviton_server.cli.journals import left_in

    left = left_in(Path(told["journal"]))
    if left:
        raise Unavailable(
            f"the store did not take everything: {format_size(left)} are left in the journal"
            f" {told['journal']}; the next mount of {told['source']} with the same cache-dir uploads them"
        )


class _Lines:
    """How much is left, once a second, for logs."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, event: Event) -> None:
        left = event.total - event.done
        if left and time.monotonic() - self._last >= _TELL_EVERY:
            self._last = time.monotonic()
            output.say(f"storing what is left: {format_size(left)}")


def _wait_for_end(gone: int, told: dict[str, Any]) -> None:
    """The process commits, closes its files and lets go of the volume before it ends."""
    poll = select.poll()
    poll.register(gone, select.POLLIN)
    if not poll.poll(int(_ENDS_WITHIN * 1000)):
        raise Unavailable(f"process {told['pid']} still runs after {_ENDS_WITHIN:.0f} s: see its log")
