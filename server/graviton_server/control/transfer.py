"""Handlers that move the bytes of files."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor, as_completed

from graviton_server.control import requests
from graviton_server.control.answers import Node, SmallFile
from graviton_server.control.calls import Cancelled, Channel
from graviton_server.control.making import dressing
from graviton_server.control.nodes import node_of
from graviton_server.control.paths import Spot, existing, locate, regular, show
from graviton_server.control.service import Service
from graviton_server.control.walk import walk
from graviton_server.control.wire import Event, Hole
from gravitonfs.content.ingest import Piece
from gravitonfs.content.volume import Volume
from gravitonfs.core.extents import Extent
from gravitonfs.core.hashing import block_id, content_hasher
from gravitonfs.errors import Conflict, Exists, Invalid, IsADirectory, OutOfRange
from gravitonfs.ports.ops import ANY, Attr, Create, Op, Write


def handle_read(service: Service, request: requests.ReadFile, channel: Channel) -> Node:
    volume = service.volume
    attr = regular(volume.namespace, request.path)
    if request.expect is not None and request.expect != (attr.content, attr.version):
        raise Conflict(f"{show(request.path)} has changed meanwhile")
    if request.offset < 0 or request.offset > attr.size:
        raise OutOfRange(f"{show(request.path)} has {attr.size} bytes, so none at {request.offset}")
    stop = attr.size if request.length < 0 else min(attr.size, request.offset + request.length)
    reader = volume.reader(attr)
    at = request.offset
    for start, end in reader.data_runs(request.offset, stop):
        if at < start:
            channel.hole(start - at)
        for pieces in reader.runs(start, end):
            for piece in pieces:
                channel.send(piece)
        at = end
    if at < stop:
        channel.hole(stop - at)
    return node_of(volume.namespace, b"", attr, details=True)


def handle_write(service: Service, request: requests.WriteFile, channel: Channel) -> Node:
    volume = service.volume
    spot = _writable(volume, request.path)
    with volume.stage(mode=request.mode, uid=request.uid, gid=request.gid) as staged:
        for data in channel.receive():
            if isinstance(data, Hole):
                staged.skip(data.length)
            else:
                staged.write(data)
        attr = staged.publish(spot.parent, spot.name, durable=False)
    volume.submit(
        *dressing(
            attr.ino,
            request.mode,
            request.uid,
            request.gid,
            request.atime_ns,
            request.mtime_ns,
            request.xattrs,
        )
    )
    return node_of(volume.namespace, spot.name, volume.namespace.attr(attr.ino), details=True)


def handle_write_small(service: Service, request: requests.WriteSmall, channel: Channel) -> int:
    """New files in one batch; the few whose name exists already one by one."""
    volume = service.volume
    fresh: list[tuple[Spot, SmallFile]] = []
    for file in request.files:
        spot = _writable(volume, file.path)
        if spot.attr is None and len(file.body) <= volume.namespace.format.block_min:
            fresh.append((spot, file))
        else:
            _replace(volume, spot, file)
    if fresh:
        _create_all(volume, fresh)
    return len(request.files)


def _writable(volume: Volume, path: bytes) -> Spot:
    spot = locate(volume.namespace, path, follow=True)
    if spot.attr is not None:
        if stat.S_ISDIR(spot.attr.mode):
            raise IsADirectory(f"{show(path)} is a directory in the volume")
        if not stat.S_ISREG(spot.attr.mode):
            raise Exists(f"{show(path)} is there already, and no regular file: remove it first")
    if not spot.name:
        raise Invalid("a file needs a name")
    return spot


def _replace(volume: Volume, spot: Spot, file: SmallFile) -> None:
    with volume.stage(mode=file.mode, uid=file.uid, gid=file.gid) as staged:
        staged.write(file.body)
        attr = staged.publish(spot.parent, spot.name, durable=False)
    volume.submit(*_dressing(attr, file))


def _dressing(attr: Attr, file: SmallFile) -> list[Op]:
    return dressing(attr.ino, file.mode, file.uid, file.gid, file.atime_ns, file.mtime_ns, file.xattrs)


def _create_all(volume: Volume, files: list[tuple[Spot, SmallFile]]) -> None:
    """A file at most as long as the smallest block is one block, so nothing needs cutting."""
    key = volume.namespace.format.block_key
    pieces = [Piece(0, block_id(f.body, key), memoryview(f.body)) for _, f in files if f.body]
    inos = [volume.new_ino() for _ in files]

    def ops(extents: tuple[Extent, ...]) -> tuple[Op, ...]:
        placed = iter(extents)
        result: list[Op] = []
        for ino, (spot, file) in zip(inos, files, strict=True):
            mode = stat.S_IFREG | stat.S_IMODE(file.mode)
            mine = (next(placed),) if file.body else ()
            digest = content_hasher()
            digest.update(file.body)
            result.append(Create(spot.parent, spot.name, ino, mode, file.uid, file.gid))
            result.append(Write(ino, mine, len(file.body), ANY, digest.digest()))
            result += dressing(ino, mode, file.uid, file.gid, file.atime_ns, file.mtime_ns, file.xattrs)
        return tuple(result)

    volume.ingest.commit_pieces(pieces, ops)


def handle_flush(service: Service, request: requests.Flush, _: Channel) -> None:
    service.volume.commit()


def handle_warm(service: Service, request: requests.Warm, channel: Channel) -> int:
    """Read every file once, several at a time; the bytes stay where reads look first."""
    volume = service.volume
    start = existing(volume.namespace, request.path, follow=True)
    files = {
        attr.content: attr
        for _, attr in walk(volume.namespace, b"", start, channel)
        if stat.S_ISREG(attr.mode)
    }
    total = sum(attr.size for attr in files.values())
    done = 0
    with ThreadPoolExecutor(max(1, min(request.jobs, 32)), "warmup") as workers:
        pending = [workers.submit(_read_all, volume, attr, channel) for attr in files.values()]
        try:
            for future in as_completed(pending):
                done += future.result()
                channel.event(Event(done, total))
        except BaseException:
            workers.shutdown(cancel_futures=True, wait=False)
            raise
    return done


def _read_all(volume: Volume, attr: Attr, channel: Channel) -> int:
    count = 0
    for piece in volume.reader(attr).stream(0, attr.size):
        if channel.cancelled.is_set():
            raise Cancelled
        count += memoryview(piece).nbytes
    return count
