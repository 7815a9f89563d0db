"""Handlers of snapshots: a volume as it was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

import msgspec

from graviton_server.control import store_requests
from graviton_server.control.answers import Differences, Restored, SnapshotInfo
from graviton_server.control.calls import Cancelled, Channel
from graviton_server.control.differing import Difference, differences
from graviton_server.control.restoring import restore
from graviton_server.control.service import Service
from graviton_server.control.shown import name_fields
from graviton_server.control.wire import Event
from gravitonfs.content.volume import Volume
from gravitonfs.ports.store import SnapshotRow

_TELL: Final = 1000
_TOGETHER: Final = 64 << 10


def handle_create(service: Service, request: store_requests.CreateSnapshot, _: Channel) -> SnapshotInfo:
    return told(service.engine.namespace_store.create_snapshot(request.volume, request.name))


def handle_list(service: Service, request: store_requests.ListSnapshots, _: Channel) -> list[SnapshotInfo]:
    return [told(row) for row in service.engine.namespace_store.snapshot_rows(request.volume)]


def handle_delete(service: Service, request: store_requests.DeleteSnapshot, _: Channel) -> None:
    service.engine.namespace_store.delete_snapshot(request.volume, request.name)


def handle_diff(service: Service, request: store_requests.DiffSnapshots, channel: Channel) -> Differences:
    with service.pool.volume(request.volume) as volume:
        return diff(volume, request.before, request.after, channel.send, channel.cancelled.is_set)


def handle_restore(service: Service, request: store_requests.RestoreSnapshot, channel: Channel) -> Restored:
    def check(files: int) -> None:
        if channel.cancelled.is_set():
            raise Cancelled
        if files % _TELL == 0:
            channel.event(Event(files, 0, "files"))

    with service.pool.volume(request.volume) as volume:
        return restore(volume, request.name, request.path, request.target, force=request.force, check=check)


def diff(
    volume: Volume,
    before: str,
    after: str | None,
    send: Callable[[bytes], None],
    cancelled: Callable[[], bool] = lambda: False,
) -> Differences:
    """Lines of JSON, some together."""
    counts: Counter[str] = Counter()
    lines = bytearray()

    def check() -> None:
        if cancelled():
            raise Cancelled

    for found in differences(volume.namespace, before, after, check):
        counts[found.what] += 1
        lines += msgspec.json.encode(_line(found)) + b"\n"
        if len(lines) > _TOGETHER:
            send(bytes(lines))
            lines.clear()
    send(bytes(lines))
    return Differences(counts["added"], counts["removed"], counts["changed"], counts["renamed"])


def _line(found: Difference) -> dict[str, object]:
    """As the command prints it with ``--json``."""
    line: dict[str, object] = {"what": found.what, **name_fields(found.path, "path")}
    if found.to is not None:
        line.update(name_fields(found.to, "to"))
    if found.how:
        line["how"] = found.how
    return line


def told(row: SnapshotRow) -> SnapshotInfo:
    return SnapshotInfo(row.name, row.created_ns / 1e9, row.logical_bytes, row.inodes, row.scheduled)
