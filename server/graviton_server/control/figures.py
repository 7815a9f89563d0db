"""Figures of an open engine: what it holds, what it has done, what its background work does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from graviton_server.control.answers import Operation
from graviton_server.control.tallies import BOUNDS

if TYPE_CHECKING:
    from graviton_server.control.service import Service

_NANO = 1e-9

__all__ = ["BOUNDS", "Traffic", "counters", "extents", "info", "operations", "traffic"]


def info(service: Service) -> dict[str, Any]:
    """What the volume holds and what that takes."""
    figures: dict[str, Any] = msgspec.to_builtins(service.engine.maintenance.figures())
    return figures


def extents(service: Service) -> int:
    """Of all contents, each once; deltas that were not folded yet count beside what they cover."""
    rows = service.engine.namespace_store.upkeep.extent_rows()
    return sum(len(row.extents) for page in rows for row in page)


def counters(service: Service) -> dict[str, float]:
    """Totals since the process started; ``dirty_bytes`` and ``cached_bytes`` are levels."""
    store = service.engine.store.counters()
    cache = service.engine.content.cache
    made = operations(service)
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
        "cached_bytes": cache.used,
        "dirty_bytes": service.pending_bytes(),
    }


def operations(service: Service) -> list[Operation]:
    """Of the front ends of this process."""
    found = []
    if service.mounts:
        from gravitonfs.fuse.counted import COUNTERS

        found += [
            Operation("fuse", name, c.count, c.errors, c.nanoseconds * _NANO, c.slowest * _NANO)
            for name, c in COUNTERS.items()
        ]
    if service.webdav_server is not None:
        found += [Operation("webdav", method, *c) for method, c in service.webdav_server.counters().items()]
    if service.tallies is not None:
        found += [
            Operation("http", name, t.count, t.errors, t.seconds, t.slowest, list(t.buckets))
            for name, t in service.tallies.operations()
        ]
    return found


class Traffic(NamedTuple):
    """Of one front end; ``errors`` by class."""

    uploads: int
    downloads: int
    errors: dict[str, int]


def traffic(service: Service) -> dict[str, Traffic]:
    found: dict[str, Traffic] = {}
    failed: dict[str, int] = {}
    for made in operations(service):
        failed[made.front_end] = failed.get(made.front_end, 0) + made.errors
    if "fuse" in failed:
        found["fuse"] = Traffic(0, 0, {"io": failed["fuse"]})
    if service.webdav_server is not None:
        uploads, downloads = service.webdav_server.traffic()
        found["webdav"] = Traffic(uploads, downloads, {"server": failed["webdav"]})
    if service.tallies is not None:
        tallies = service.tallies
        found["http"] = Traffic(tallies.uploads, tallies.downloads, dict(tallies.errors()))
    return found
