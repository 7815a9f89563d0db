"""Figures of an open engine: what it holds, what it has done, what its background work does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from graviton_server.control.answers import Operation

if TYPE_CHECKING:
    from graviton_server.control.service import Service
    from graviton_server.control.tallies import Tallies
    from graviton_webdav.app import WebDavServer
    from gravitonfs.content.diskcache.cache import DiskCache
    from gravitonfs.content.volume import Content, Volume
    from gravitonfs.ports.blocks import BlockStore

_NANO = 1e-9


def info(service: Service) -> dict[str, Any]:
    """What the volume holds and what that takes."""
    figures: dict[str, Any] = msgspec.to_builtins(service.engine.maintenance.figures())
    return figures


def extents(service: Service) -> int:
    """Of all contents, each once; deltas that were not folded yet count beside what they cover."""
    rows = service.engine.namespace_store.upkeep.extent_rows()
    return sum(len(row.extents) for page in rows for row in page)


def snapshots(service: Service) -> dict[str, Any]:
    """How many there are, and the bytes of files that are in them alone, before deduplication."""
    held = service.engine.namespace_store.upkeep.held_by_snapshots()
    return {"snapshots": held.snapshots, "snapshot_bytes": held.logical_bytes}


def trash(service: Service) -> dict[str, int]:
    """Removed files, directories and links that are kept, and the bytes of files, before deduplication."""
    kept = service.engine.namespace_store.upkeep.trash_usage()
    return {"trash_inodes": kept.inodes, "trash_bytes": kept.logical_bytes}


def counters(service: Service) -> dict[str, float]:
    """Totals since the process started; ``dirty_bytes`` and ``cached_bytes`` are levels."""
    engine = service.engine
    return _counters(operations(service), engine.blocks, engine.content, engine.disk_cache)


def counters_of(volume: Volume, disk: DiskCache | None) -> dict[str, float]:
    """As ``counters``, of a mount without an engine."""
    return _counters(mount_operations(), volume.store, volume.shared, disk)


def _counters(
    made: list[Operation], blocks: BlockStore, content: Content, disk: DiskCache | None
) -> dict[str, float]:
    store = blocks.counters()
    cache, names = content.cache, content.names
    kept = {} if disk is None else disk.counters()._asdict()
    return {
        "operations": sum(operation.count for operation in made),
        "errors": sum(operation.errors for operation in made),
        "blocks_put": store.blocks_put,
        "stored_bytes": store.bytes_put,
        "blocks_found": store.blocks_found,
        "blocks_read": store.blocks_read,
        "read_bytes": store.bytes_read,
        "syncs": store.syncs,
        "cache_hits": cache.hits,
        "cache_misses": cache.misses,
        "name_hits": names.hits,
        "name_misses": names.misses,
        "cached_bytes": cache.used,
        "dirty_bytes": content.dirty.used,
        **{f"disk_{name}": value for name, value in kept.items()},
    }


class FrontEnd(NamedTuple):
    """What a front end of this process has done. ``latencies``: by operation, how many took under 2 to the
    power of the index nanoseconds and not under half of that; with the seconds of all of them."""

    name: str
    latencies: dict[str, tuple[list[int], float]]
    errors: dict[str, int]
    transfers: dict[str, int]


def front_ends(service: Service) -> list[FrontEnd]:
    found = [mount_front_end()] if service.mounts else []
    if service.webdav_server is not None:
        found.append(gateway_front_end(service.webdav_server))
    for name, tallies in _tallied(service):
        times = {operation: (list(t.buckets), t.seconds) for operation, t in tallies.operations()}
        done = {"uploads": tallies.uploads, "downloads": tallies.downloads}
        found.append(FrontEnd(name, times, tallies.errors(), done))
    return found


def mount_front_end() -> FrontEnd:
    """Of the mount in this process."""
    from gravitonfs.fuse.counted import COUNTERS, ERRORS, TRANSFERS

    times = {name: (list(c.buckets), c.nanoseconds * _NANO) for name, c in COUNTERS.items()}
    return FrontEnd("fuse", times, dict(ERRORS), dict(TRANSFERS))


def gateway_front_end(server: WebDavServer) -> FrontEnd:
    made = server.counters()
    times = {method: (buckets, made[method].seconds) for method, buckets in server.latencies().items()}
    return FrontEnd("webdav", times, server.errors(), server.transfers())


def _tallied(service: Service) -> list[tuple[str, Tallies]]:
    both = (("http", service.tallies), ("grpc", service.grpc_tallies))
    return [(name, tallies) for name, tallies in both if tallies is not None]


def operations(service: Service) -> list[Operation]:
    """Of the front ends of this process."""
    found = mount_operations() if service.mounts else []
    if service.webdav_server is not None:
        found += [Operation("webdav", method, *c) for method, c in service.webdav_server.counters().items()]
    for front_end, tallies in _tallied(service):
        found += [
            Operation(front_end, name, t.count, t.errors, t.seconds, t.slowest)
            for name, t in tallies.operations()
        ]
    return found


def mount_operations() -> list[Operation]:
    from gravitonfs.fuse.counted import COUNTERS

    return [
        Operation("fuse", name, c.count, c.errors, c.nanoseconds * _NANO, c.slowest * _NANO)
        for name, c in COUNTERS.items()
    ]
