"""Metrics for Prometheus, read from the engine when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from gravitonfs.errors import Busy

if TYPE_CHECKING:
    from prometheus_client import Metric

    from graviton_server.control.service import Service

_TOTALS = {
    "blocks_put": ("graviton_blocks_stored", "Blocks stored."),
    "stored_bytes": ("graviton_stored_bytes", "Bytes written to packs."),
    "blocks_found": ("graviton_blocks_deduplicated", "Blocks that were there already."),
    "blocks_read": ("graviton_blocks_read", "Blocks read from packs."),
    "read_bytes": ("graviton_read_bytes", "Bytes read from packs."),
    "syncs": ("graviton_syncs", "Flushes to stable storage."),
    "cache_hits": ("graviton_cache_hits", "Blocks found in the memory cache."),
    "cache_misses": ("graviton_cache_misses", "Blocks not found in the memory cache."),
}
_LEVELS = {
    "dirty_bytes": ("graviton_dirty_bytes", "Bytes accepted from writers and not stored yet."),
    "cached_bytes": ("graviton_cached_bytes", "Bytes in the memory cache."),
}


class _Collector:
    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily

        from graviton_server.control.figures import counters, operations

        values = counters(self._service)
        for key, (name, text) in _TOTALS.items():
            yield CounterMetricFamily(name, text, value=values[key])
        for key, (name, text) in _LEVELS.items():
            yield GaugeMetricFamily(name, text, value=values[key])
        requests = SummaryMetricFamily(
            "graviton_request_duration_seconds", "Requests of front ends.", labels=["front_end", "operation"]
        )
        errors = CounterMetricFamily("graviton_errors", "Requests that failed.", labels=["front_end"])
        failed: dict[str, int] = {}
        for made in operations(self._service):
            requests.add_metric([made.front_end, made.name], made.count, made.seconds)
            failed[made.front_end] = failed.get(made.front_end, 0) + made.errors
        for front_end, count in failed.items():
            errors.add_metric([front_end], count)
        yield requests
        yield errors
        yield from self._of_the_store()

    def _of_the_store(self) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        from graviton_server.control.figures import info

        held = info(self._service)
        yield GaugeMetricFamily("graviton_storage_bytes", "Bytes stored.", value=held["stored_bytes"])
        yield GaugeMetricFamily("graviton_logical_bytes", "Bytes of all files.", value=held["logical_bytes"])
        yield GaugeMetricFamily("graviton_dedupe_ratio", "Logical over unique.", value=held["dedupe_ratio"])
        capacity = GaugeMetricFamily("graviton_storage_capacity", "Bytes a target has.", labels=["target"])
        capacity.add_metric([self._service.engine.target.name], self._service.engine.space().capacity)
        yield capacity


def export(service: Service, host: str, port: int) -> Callable[[], None]:
    """Serve /metrics from a thread of its own; returns what ends it."""
    from prometheus_client import CollectorRegistry, start_http_server

    registry = CollectorRegistry()
    registry.register(_Collector(service))
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise Busy(f"{host}:{port} cannot be used for metrics: {error.strerror}") from error

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop
