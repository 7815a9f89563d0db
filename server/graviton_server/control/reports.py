"""Handlers that only tell."""

from __future__ import annotations

import os
import time
from typing import Any

from graviton_server.control import figures, requests, store_requests, targets
from graviton_server.control.answers import Counters, Status, Usage, WorkStatus
from graviton_server.control.calls import Channel
from graviton_server.control.paths import existing
from graviton_server.control.service import Service
from graviton_server.control.tally import Tally
from graviton_server.control.walk import walk
from graviton_server.control.wire import Event
from graviton_server.maintenance.reports import BackupStatus

_DRAIN_LOOK = 0.1


def handle_usage(service: Service, request: requests.TreeUsage, channel: Channel) -> Usage:
    """Each inode counts once, each content once, each block once, whatever shares them."""
    namespace = service.volume.namespace
    start = existing(namespace, request.path, follow=True)
    tally = Tally(service.engine, namespace, with_blocks=not request.names_only)
    for _, attr in walk(namespace, b"", start, channel):
        tally.add(attr.ino, attr.mode, attr.nlink, attr.size, attr.content)
        channel.event(Event(tally.files))
    return tally.usage()


def handle_info(service: Service, request: requests.Info, _: Channel) -> dict[str, Any]:
    more = {"extents": figures.extents(service)} | figures.snapshots(service) | figures.trash(service)
    return figures.info(service) | more


def handle_status(service: Service, request: requests.GetStatus, channel: Channel) -> Status:
    return Status(
        pid=os.getpid(),
        role=service.role,
        data=str(service.data),
        started=service.started,
        mounts=service.mounts,
        webdav=service.webdav,
        pending_bytes=service.pending_bytes(),
        clients=service.server.clients if service.server is not None else 0,
        upkeep=service.engine.maintenance.status(),
        info=figures.info(service),
        http=service.http,
        grpc=service.grpc,
        targets=targets.handle_list(service, store_requests.ListTargets(), channel),
        replication=targets.replication(service),
        shard=targets.shard(service),
        backup=backup_status(service),
    )


def handle_work(service: Service, request: requests.GetWork, _: Channel) -> WorkStatus:
    return WorkStatus(
        pid=os.getpid(),
        role=service.role,
        started=service.started,
        pending_bytes=service.pending_bytes(),
        upkeep=service.engine.maintenance.status(),
        replication=targets.replication(service),
        shard=targets.shard(service),
        backup=backup_status(service),
    )


def backup_status(service: Service) -> BackupStatus | None:
    backups = service.engine.maintenance.backups
    return None if backups is None else backups.status()


def handle_counters(service: Service, request: requests.GetCounters, _: Channel) -> Counters:
    return Counters(time.monotonic(), figures.counters(service), figures.operations(service))


def handle_drain(service: Service, request: requests.Drain, channel: Channel) -> None:
    """Until the mount is gone and what it held is stored."""
    most = 1
    while any(mount.path == request.mount for mount in service.mounts):
        left = service.pending_bytes()
        most = max(most, left)
        channel.event(Event(most - left, most))
        channel.cancelled.wait(_DRAIN_LOOK)
    failure = service.failure_of(request.mount)
    if failure is not None:
        raise failure
    service.volume.commit()
