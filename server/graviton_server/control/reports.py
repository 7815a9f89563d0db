"""Handlers that only tell."""

from __future__ import annotations

import os
import stat
import time
from typing import Any

from graviton_server.control import figures, requests
from graviton_server.control.answers import Counters, Status, Usage
from graviton_server.control.calls import Channel
from graviton_server.control.paths import existing
from graviton_server.control.service import Service
from graviton_server.control.walk import walk
from graviton_server.control.wire import Event
from gravitonfs.core.extents import REGION
from gravitonfs.core.ids import NO_CONTENT, BlockId, ContentId
from gravitonfs.ports.namespace import Namespace

_REGIONS_AT_ONCE = 64
_DRAIN_LOOK = 0.1


def handle_usage(service: Service, request: requests.TreeUsage, channel: Channel) -> Usage:
    """Each inode counts once, each content once, each block once, whatever shares them."""
    namespace = service.volume.namespace
    start = existing(namespace, request.path, follow=True)
    tally = _Tally(namespace, with_blocks=not request.names_only)
    for _, attr in walk(namespace, b"", start, channel):
        tally.add(attr.ino, attr.mode, attr.nlink, attr.size, attr.content)
        channel.event(Event(tally.files))
    return tally.usage()


class _Tally:
    def __init__(self, namespace: Namespace, *, with_blocks: bool) -> None:
        self._namespace = namespace
        self._with_blocks = with_blocks
        self._linked: set[int] = set()
        self._contents: set[int] = set()
        self._blocks: dict[BlockId, int] = {}
        self._extents = 0
        self._bytes = 0
        self.files = 0
        self._directories = 0
        self._others = 0

    def add(self, ino: int, mode: int, nlink: int, size: int, content: ContentId) -> None:
        if stat.S_ISDIR(mode):
            self._directories += 1
            return
        if nlink > 1:
            if ino in self._linked:
                return
            self._linked.add(ino)
        if not stat.S_ISREG(mode):
            self._others += 1
            return
        self.files += 1
        self._bytes += size
        if self._with_blocks and content != NO_CONTENT and content not in self._contents:
            self._contents.add(content)
            self._add_blocks(content, size)

    def _add_blocks(self, content: ContentId, size: int) -> None:
        """``unique`` counts the bytes of a block that are used, as far as one extent goes."""
        for first in range(0, size // REGION + 1, _REGIONS_AT_ONCE):
            for region in self._namespace.extents(content, first, first + _REGIONS_AT_ONCE - 1):
                self._extents += len(region.extents)
                for extent in region.extents:
                    known = self._blocks.get(extent.block, 0)
                    self._blocks[extent.block] = max(known, extent.block_offset + extent.length)

    def usage(self) -> Usage:
        return Usage(
            logical_bytes=self._bytes,
            unique_bytes=sum(self._blocks.values()),
            files=self.files,
            directories=self._directories,
            others=self._others,
            extents=self._extents,
            blocks=len(self._blocks),
        )


def handle_info(service: Service, request: requests.Info, _: Channel) -> dict[str, Any]:
    return figures.info(service) | {"extents": figures.extents(service)}


def handle_status(service: Service, request: requests.GetStatus, _: Channel) -> Status:
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
    )


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
