"""Metrics for Prometheus, read from the engine when they are asked for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from gravitonfs.errors import Busy, Kind

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Metric

    from graviton_server.control.figures import FrontEnd
    from graviton_server.control.service import Service
    from graviton_webdav.app import WebDavServer

_TOTALS = {
    "blocks_put": ("graviton_blocks_stored", "Blocks stored."),
    "stored_bytes": ("graviton_stored_bytes", "Bytes written to packs."),
    "blocks_found": ("graviton_blocks_deduplicated", "Blocks that were there already."),
    "blocks_read": ("graviton_blocks_read", "Blocks read from packs."),
    "read_bytes": ("graviton_read_bytes", "Bytes read from packs."),
    "syncs": ("graviton_syncs", "Flushes to stable storage."),
    "cache_hits": ("graviton_cache_hits", "Blocks found in the memory cache."),
    "cache_misses": ("graviton_cache_misses", "Blocks not found in the memory cache."),
    "disk_hits": ("graviton_disk_cache_hits", "Blocks read from the disk cache."),
    "disk_hit_bytes": ("graviton_disk_cache_hit_bytes", "Bytes read from the disk cache."),
    "disk_misses": ("graviton_disk_cache_misses", "Blocks that the disk cache did not have."),
    "disk_filled": ("graviton_disk_cache_filled", "Blocks that the disk cache took in."),
    "disk_filled_bytes": ("graviton_disk_cache_filled_bytes", "Bytes that the disk cache took in."),
    "disk_dropped": ("graviton_disk_cache_dropped", "Blocks that came faster than the disk took them."),
    "disk_evicted": ("graviton_disk_cache_evicted", "Blocks that the disk cache gave up for others."),
    "disk_evicted_bytes": ("graviton_disk_cache_evicted_bytes", "Bytes that the disk cache gave up."),
    "disk_damaged": ("graviton_disk_cache_damaged", "Blocks in the disk cache that were wrong."),
    "name_hits": ("graviton_name_hits", "Questions for names and attributes answered from memory."),
    "name_misses": ("graviton_name_misses", "Questions for names and attributes that were asked."),
}
"""Those of the disk cache where there is one."""
_HELD_FOR = 60.0
_UNHEALTHY_FOR = 15.0
_UNHEALTHY_BY_LISTING_FOR = 300.0
"""Without rows for each copy every object is looked for."""
_LEVELS = {
    "dirty_bytes": ("graviton_dirty_bytes", "Bytes accepted from writers and not stored yet."),
    "cached_bytes": ("graviton_cached_bytes", "Bytes in the memory cache."),
    "disk_bytes": ("graviton_disk_cache_bytes", "Bytes that the disk cache takes."),
    "disk_blocks": ("graviton_disk_cache_blocks", "Blocks in the disk cache."),
    "disk_limit": ("graviton_disk_cache_limit_bytes", "Bytes that the disk cache may take."),
}


class _Remembered:
    """A figure that costs something, computed at most every so many seconds. ``_lock`` guards it."""

    def __init__(self, compute: Callable[[], dict[str, float]], seconds: float) -> None:
        self._compute = compute
        self._seconds = seconds
        self._lock = threading.Lock()
        self._value: dict[str, float] | None = None
        self._until = 0.0

    def get(self) -> dict[str, float]:
        with self._lock:
            now = time.monotonic()
            if self._value is None or now >= self._until:
                self._value = self._compute()
                self._until = time.monotonic() + self._seconds
            return self._value


_CLASSES = {Kind.DAMAGED.value, Kind.UNAVAILABLE.value, Kind.NO_SPACE.value, Kind.INTERNAL.value}
"""Of errors that are told from the start: a rate needs a zero to rise from."""
_FIRST, _LAST = 14, 36
"""Powers of two of nanoseconds that are bounds: 16 microseconds to 69 seconds."""


def _cumulated(buckets: list[int]) -> list[tuple[str, float]]:
    """As Prometheus wants them: how many took at most so many seconds."""
    result: list[tuple[str, float]] = []
    total = sum(buckets[:_FIRST])
    for power in range(_FIRST, _LAST + 1):
        total += buckets[power]
        result.append((f"{2**power / 1e9:.9f}", total))
    return [*result, ("+Inf", sum(buckets))]


def _of_values(values: dict[str, float]) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    for key, (name, text) in _TOTALS.items():
        if key in values:
            yield CounterMetricFamily(name, text, value=values[key])
    for key, (name, text) in _LEVELS.items():
        if key in values:
            yield GaugeMetricFamily(name, text, value=values[key])


def _of_front_ends(front_ends: list[FrontEnd]) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

    requests = HistogramMetricFamily(
        "graviton_request_duration_seconds", "Requests of front ends.", labels=["front_end", "operation"]
    )
    errors = CounterMetricFamily(
        "graviton_errors",
        "Requests that failed by no fault of the caller's.",
        labels=["front_end", "class"],
    )
    uploads = CounterMetricFamily("graviton_uploads", "Files stored.", labels=["front_end"])
    downloads = CounterMetricFamily("graviton_downloads", "Files read.", labels=["front_end"])
    for front_end in front_ends:
        name = front_end.name
        for operation, (buckets, seconds) in front_end.latencies.items():
            requests.add_metric([name, operation], _cumulated(buckets), seconds)
        for kind in _CLASSES | front_end.errors.keys():
            errors.add_metric([name, kind], front_end.errors.get(kind, 0))
        uploads.add_metric([name], front_end.transfers["uploads"])
        downloads.add_metric([name], front_end.transfers["downloads"])
    yield from (requests, errors, uploads, downloads)


class _RemoteCollector:
    """Of a mount or a gateway whose store is a daemon's; the daemon exports the store's own."""

    def __init__(self, counters: Callable[[], dict[str, float]], front_end: Callable[[], FrontEnd]) -> None:
        self._counters = counters
        self._front_end = front_end

    def collect(self) -> Iterator[Metric]:
        yield from _of_values(self._counters())
        yield from _of_front_ends([self._front_end()])


class _Collector:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._held = _Remembered(self._compute_held, _HELD_FOR)
        listed = service.engine.replication is None
        seconds = _UNHEALTHY_BY_LISTING_FOR if listed else _UNHEALTHY_FOR
        self._unhealthy = _Remembered(self._compute_unhealthy, seconds)

    def _compute_held(self) -> dict[str, float]:
        from graviton_server.control.figures import info, trash

        return info(self._service) | trash(self._service)

    def _compute_unhealthy(self) -> dict[str, float]:
        engine = self._service.engine
        if engine.replication is not None:
            return {"replicas": engine.replication.unhealthy()}
        return {"replicas": engine.maintenance.unhealthy()}

    def collect(self) -> Iterator[Metric]:
        from graviton_server.control.figures import counters, front_ends

        yield from _of_values(counters(self._service))
        yield from _of_front_ends(front_ends(self._service))
        yield from self._of_the_store()

    def _of_targets(self) -> list[tuple[str, float, float | None]]:
        """Name, bytes stored, bytes free where that is known."""
        from graviton_server.wiring.target_admin import reports

        return [
            (one.row.name, one.bytes, one.space.free if one.space.capacity else None)
            for one in reports(self._service.engine)
            if one.row.state.value != "removed"
        ]

    def _of_the_store(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        engine = self._service.engine
        name = engine.target.name
        bytes_ = GaugeMetricFamily("graviton_storage_bytes", "Bytes of packs on a target.", labels=["target"])
        capacity = GaugeMetricFamily(
            "graviton_storage_capacity",
            "Bytes a target has for packs: those stored, and free.",
            labels=["target"],
        )
        for one, stored, free in self._of_targets():
            bytes_.add_metric([one], stored)
            if free is not None:
                capacity.add_metric([one], stored + free)
        yield bytes_
        if capacity.samples:
            yield capacity
        unhealthy = self._unhealthy.get()["replicas"]
        yield GaugeMetricFamily(
            "graviton_replicas_unhealthy", "Packs, or copies of them, missing or bad.", value=unhealthy
        )
        yield from self._of_replication()
        yield from self._of_backups()
        held = self._held.get()
        yield GaugeMetricFamily("graviton_logical_bytes", "Bytes of all files.", value=held["logical_bytes"])
        yield GaugeMetricFamily("graviton_dedupe_ratio", "Logical over unique.", value=held["dedupe_ratio"])
        yield GaugeMetricFamily(
            "graviton_trash_bytes", "Bytes of removed files that are kept.", value=held["trash_bytes"]
        )
        yield GaugeMetricFamily(
            "graviton_trash_inodes",
            "Removed files and directories that are kept.",
            value=held["trash_inodes"],
        )
        requests = CounterMetricFamily(
            "graviton_target_requests", "Requests to a target.", labels=["target", "kind"]
        )
        for kind, count in self._service.engine.target_requests().items():
            requests.add_metric([name, kind], count)
        yield requests

    def _of_backups(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        from graviton_server.control.reports import backup_status

        found = backup_status(self._service)
        if found is None:
            return
        yield GaugeMetricFamily(
            "graviton_backup_age_seconds",
            "Since the newest complete dump on the targets was begun; without any, since the store was made.",
            value=found.age,
        )
        yield GaugeMetricFamily(
            "graviton_backup_bytes", "What the newest dump takes on a target.", value=found.bytes
        )
        yield CounterMetricFamily(
            "graviton_backup_failures", "Dumps that this process has failed to make.", value=found.failures
        )

    def _of_replication(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        from graviton_server.control.targets import replication

        found = replication(self._service)
        if found is None:
            return
        yield GaugeMetricFamily(
            "graviton_replicas_moving", "Copies on their way between targets.", value=found.moving
        )
        for name, text, value in (
            ("graviton_replicas_repaired", "Copies made anew or moved by this process.", found.copies_made),
            ("graviton_repaired_bytes", "Bytes of them.", found.copied_bytes),
            (
                "graviton_degraded_writes",
                "Packs stored with copies missing.",
                found.degraded_writes,
            ),
            ("graviton_hedged_reads", "Reads for which a second copy was asked.", found.hedged_reads),
            ("graviton_hedged_reads_won", "Those that the second answered first.", found.hedges_won),
        ):
            yield CounterMetricFamily(name, text, value=value)


def registry_of(service: Service) -> CollectorRegistry:
    from prometheus_client import CollectorRegistry

    registry = CollectorRegistry()
    registry.register(_Collector(service))
    return registry


def mount_registry(counters: Callable[[], dict[str, float]]) -> CollectorRegistry:
    from graviton_server.control.figures import mount_front_end

    return _remote_registry(counters, mount_front_end)


def gateway_registry(server: WebDavServer) -> CollectorRegistry:
    from graviton_server.control.figures import gateway_front_end

    return _remote_registry(dict, lambda: gateway_front_end(server))


def _remote_registry(
    counters: Callable[[], dict[str, float]], front_end: Callable[[], FrontEnd]
) -> CollectorRegistry:
    from prometheus_client import CollectorRegistry

    registry = CollectorRegistry()
    registry.register(_RemoteCollector(counters, front_end))
    return registry


def renderer(service: Service) -> Callable[[], tuple[bytes, str]]:
    """What makes the page /metrics, and its type."""
    from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

    registry = registry_of(service)
    return lambda: (generate_latest(registry), CONTENT_TYPE_LATEST)


def export(registry: CollectorRegistry, host: str, port: int) -> Callable[[], None]:
    """Serve /metrics from a thread of its own; returns what ends it."""
    from prometheus_client import start_http_server

    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise Busy(f"{host}:{port} cannot be used for metrics: {error.strerror}") from error

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop
