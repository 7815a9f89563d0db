"""Figures of an open engine: what it holds, what it has done, what its background work does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from graviton_server.control.requests import Operation
from gravitonfs.core.ids import NO_PACK
from gravitonfs.ports.packs import PackRow, PackState

if TYPE_CHECKING:
    from graviton_server.control.service import Service

_NANO = 1e-9


def info(service: Service) -> dict[str, Any]:
    """What the volume holds and what that takes."""
    engine = service.engine
    usage = service.volume.namespace.usage()
    blocks: dict[bytes, int] = {}
    extents = 0
    for page in engine.namespace_store.upkeep.extent_rows():
        for row in page:
            extents += len(row.extents)
            for extent in row.extents:
                end = extent.block_offset + extent.length
                if not extent.is_hole and blocks.get(extent.block, 0) < end:
                    blocks[extent.block] = end
    packs = list(_packs(service))
    loose = engine.namespace_store.loose.loose_bytes()
    return {
        "logical_bytes": usage.logical_bytes,
        "unique_bytes": sum(blocks.values()),
        "stored_bytes": sum(found.length for found in engine.target.list("packs/")) + loose,
        "loose_bytes": loose,
        "inodes": usage.inodes,
        "blocks": len(blocks),
        "extents": extents,
        "packs": len(packs),
    }


def _packs(service: Service) -> Iterator[PackRow]:
    registry = service.engine.namespace_store.packs
    after = NO_PACK
    while page := registry.rows(after):
        yield from (row for row in page if row.state is PackState.LIVE)
        after = page[-1].number


def upkeep(service: Service) -> list[dict[str, Any]]:
    """One entry a kind of background work."""
    return []


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
        served = service.webdav_server.counters()
        found.append(Operation("webdav", "requests", served.requests, served.errors, served.seconds, 0.0))
    return found
