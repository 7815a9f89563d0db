"""Where a mount keeps blocks on the local disk, and how many: the options ``cache-*``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from graviton_server.cli.memory import memory_budget
from graviton_server.cli.options import Choices
from gravitonfs.core.hashing import block_id
from gravitonfs.core.units import format_size

if TYPE_CHECKING:
    from gravitonfs.client.remote_namespace import RemoteNamespace
    from gravitonfs.content.diskcache.cache import CacheSettings, DiskCache
    from gravitonfs.ports.blocks import BlockStore

MEMORY = 512 << 20
"""Of a mount that is told nothing else."""
_DEFAULT = 8 << 30
_SHARE_OF_DISK = 10
_SHARE_OF_MEMORY = 8


def cache_home() -> Path:
    """What may be lost."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "graviton"


def with_disk_cache(choices: Choices, mountpoint: Path | None, *, default: bool) -> Choices:
    """``default``: there is one where nothing is said. Raises a usage error that names the option."""
    from gravitonfs.content.diskcache.cache import SMALLEST, CacheSettings

    asked = choices.cache_dir is not None or choices.cache_size is not None
    directory = choices.cache_dir or cache_home()
    if choices.cache_size == 0 or not (asked or default):
        return choices
    if choices.cache_size is not None and choices.cache_size < SMALLEST:
        raise click.UsageError(f"mount option cache-size: at least {format_size(SMALLEST)}, or 0 for none")
    real = Path(os.path.realpath(directory))
    if mountpoint is not None:
        point = Path(os.path.realpath(mountpoint))
        if real == point or point in real.parents:
            raise click.UsageError(f"mount option cache-dir: {directory} is in the mount itself")
    size = choices.cache_size
    if size is None:
        size = min(_DEFAULT, _disk_of(real) // _SHARE_OF_DISK)
        if size < SMALLEST:
            return choices  # so small a disk has other uses
    memory = (choices.memory or memory_budget(MEMORY)) // _SHARE_OF_MEMORY
    return choices._replace(disk_cache=CacheSettings(directory, size, memory, asked, choices.cache_reserve))


def _disk_of(path: Path) -> int:
    while not path.exists() and path != path.parent:
        path = path.parent
    found = os.statvfs(path)
    return found.f_blocks * found.f_frsize


def told(choices: Choices) -> str:
    """For whoever mounts."""
    if choices.disk_cache is None:
        return "no disk cache"
    return f"up to {format_size(choices.disk_cache.budget)} are cached in {choices.disk_cache.directory}"


def refuse_disk_cache(choices: Choices) -> None:
    """A volume whose packs are in a directory is on a disk already."""
    asked = {
        "cache-dir": choices.cache_dir,
        "cache-size": choices.cache_size,
        "cache-reserve": choices.cache_reserve,
    }
    for name, value in asked.items():
        if value is not None:
            raise click.UsageError(
                f"mount option {name}: the disk cache is for volumes that are elsewhere, and this one is on"
                " a disk of this machine; memory= bounds what is kept in memory"
            )


class MountDiskCache:
    """Of a daemon's volume: which store it is of is known once the volume is attached; then it is kept."""

    def __init__(self, settings: CacheSettings | None, source: str) -> None:
        self._settings = settings
        self._source = source
        self.cache: DiskCache | None = None

    def around(self, blocks: BlockStore, names: RemoteNamespace) -> BlockStore:
        """Raises ``Invalid`` where a directory that was asked for cannot be used."""
        from gravitonfs.content.diskcache.cache import open_cache
        from gravitonfs.content.diskcache.store import CachedBlockStore

        if self._settings is None:
            return blocks
        if self.cache is not None:
            return CachedBlockStore(blocks, self.cache)  # of an earlier session
        store = names.attachment.store or block_id(self._source.encode())[:16]  # an old daemon tells nothing
        try:
            self.cache = open_cache(self._settings, store, names.format.block_key)
        except BaseException:
            names.detach()  # nobody else has it yet
            raise
        return blocks if self.cache is None else CachedBlockStore(blocks, self.cache)

    def close(self) -> None:
        if self.cache is not None:
            self.cache.close()
