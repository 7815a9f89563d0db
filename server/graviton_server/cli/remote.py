"""A mount of a daemon's volume: the same file system over the remote ports."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from graviton_server.cli import noted, output
from graviton_server.cli.diskcache import MEMORY, MountDiskCache
from graviton_server.cli.journals import LocalJournals, state_directory
from graviton_server.cli.memory import memory_budget
from graviton_server.cli.options import Choices
from graviton_server.cli.pacing import limited, pace
from graviton_server.control.answers import Counters
from graviton_server.control.figures import counters_of, mount_operations
from gravitonfs.errors import GravitonError, Unavailable

if TYPE_CHECKING:
    from gravitonfs.client.endpoint import Endpoint
    from gravitonfs.client.volumes import RemoteVolume
    from gravitonfs.ports.target import Space

log = logging.getLogger("graviton")


def log_of(mountpoint: Path) -> Path:
    """Where a mount in the background logs."""
    state = state_directory()
    state.mkdir(parents=True, exist_ok=True)
    return state / f"mount{str(mountpoint).replace('/', '-')}.log"


def run_mount(source: str, mountpoint: Path, choices: Choices, ready: Callable[[], None]) -> None:
    """Serve the mount until it is taken away or a signal comes; all is stored when this returns."""
    from gravitonfs.client.endpoint import Endpoint

    endpoint, volume, path = Endpoint.parse(source)
    if path:
        raise click.UsageError(f"{source}: use the option subdir={path} to mount a directory of the volume")
    endpoint = endpoint.with_options(
        token_file=choices.token_file,
        ca_file=choices.ca_file,
        cert_file=choices.cert_file,
        key_file=choices.key_file,
    )
    shown = f"{endpoint}/{volume}"
    described: dict[str, object] = {
        "source": shown,
        "mountpoint": str(mountpoint),
        "subdir": "/" + choices.subdir.strip("/"),
        "read_only": choices.ro,
        "pid": os.getpid(),
    }
    run_over(endpoint, volume, shown, mountpoint, choices, ready, described)


def run_over(
    endpoint: Endpoint,
    volume: str,
    shown: str,
    mountpoint: Path,
    choices: Choices,
    ready: Callable[[], None],
    described: dict[str, object],
) -> None:
    """As ``run_mount``. ``shown``: how people call what is mounted; ``described``: what commands ask for."""
    from gravitonfs.client.connection import Connection
    from gravitonfs.client.volumes import open_volume
    from gravitonfs.fuse.mount import Mount, MountOptions
    from gravitonfs.ports.namespace import Claims, Listener, Recall

    connection = Connection(endpoint)
    opened: list[RemoteVolume] = []
    local = LocalJournals(shown, volume, choices)
    memory = choices.memory or memory_budget(MEMORY)
    disk = MountDiskCache(choices.disk_cache, shown)
    upload, download = pace(choices.upload_limit), pace(choices.download_limit)

    def attach(claims: Claims, listener: Listener, recall: Recall) -> RemoteVolume:
        made = open_volume(
            connection,
            volume,
            label=f"mount {mountpoint}",
            claims=claims,
            listener=listener,
            recall=recall,
            read_only=choices.ro,
            timeout=choices.timeout,
            memory=memory,
            journal=local.begin(),
            wrap=lambda blocks, names: disk.around(limited(blocks, upload, download), names),
            pace=upload,
        )
        opened.append(made)
        return made

    described = described | {"durability": choices.durability}
    options = MountOptions(
        read_only=choices.ro,
        allow_other=choices.allow_other,
        subdir=choices.subdir,
        uid=choices.uid,
        gid=choices.gid,
        umask=choices.umask,
        extra=choices.restrictions,
        timeout=choices.timeout,
        drain_timeout=choices.drain_timeout,
        mounter=choices.mounter,
        cache_seconds=None,  # others may change the volume too
    )

    def values() -> dict[str, float]:
        return counters_of(opened[0], disk.cache)

    def describe() -> dict[str, object]:
        """What ``graviton stats`` and ``profile`` ask for, too."""
        counters = Counters(time.monotonic(), values(), mount_operations())
        return described | {"counters": msgspec.to_builtins(counters)}

    try:
        local.recover(connection)
        mount = Mount(attach, mountpoint, options, space=lambda: _space(opened), describe=describe)
        if local.journal is not None:
            described["journal"] = str(local.journal.directory)
            noted.note(described)
        output.say(local.told())
        with _metrics(choices, values):
            mount.run(ready)
    except GravitonError as error:
        if left := local.left_behind():
            raise Unavailable(f"{error}; {left}") from error
        raise
    finally:
        for one in opened:
            one.close()
        disk.close()
        connection.close()
        if local.journal is not None:
            noted.forget(str(mountpoint))
        local.close()


@contextmanager
def _metrics(choices: Choices, counters: Callable[[], dict[str, float]]) -> Iterator[None]:
    """/metrics of this process, while it mounts."""
    if choices.metrics is None:
        yield
        return
    from graviton_server.metrics import export, mount_registry

    stop = export(mount_registry(counters), *choices.metrics)
    try:
        yield
    finally:
        stop()


def _space(opened: list[RemoteVolume]) -> Space:
    return opened[0].space()
