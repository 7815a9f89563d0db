"""Everything one inode's writers have handed over and the namespace does not know yet."""

from __future__ import annotations

import time
from collections.abc import Callable

from gravitonfs.content.ingest import Ingest
from gravitonfs.content.maps import Laid
from gravitonfs.content.small import SmallRun
from gravitonfs.content.stream import Stream
from gravitonfs.core.extents import Extent
from gravitonfs.core.ids import Ino
from gravitonfs.errors import GravitonError
from gravitonfs.ports.ops import ANY, Attr, Op, SetAttr, Write

_RUN = 128 << 10
"""A write of at least this many bytes somewhere else starts a run of its own."""
_PATCHES_MAX = 256
_PATCH_BYTES_MAX = 8 << 20


TailOf = Callable[[Attr], bytes]
"""The bytes of a file's last block if it is under the minimum size, else nothing."""


class FileWriter:
    """Write-back buffer of one inode: a sequential run, or small patches here and there.

    Calls by one thread at a time; the run's workers share only the run. ``size`` is what a reader
    of the file must see.
    """

    def __init__(self, ingest: Ingest, attr: Attr, tail_of: TailOf) -> None:
        self._ingest = ingest
        self._tail_of = tail_of
        self._ino: Ino = attr.ino
        self.attr = attr
        self.size = attr.size
        self.mtime_ns = attr.mtime_ns
        self._stream: Stream | SmallRun | None = None
        self._patches: dict[int, bytearray] = {}
        self._patch_bytes = 0
        self._laid: Laid | None = None

    @property
    def laid(self) -> Laid | None:
        """By the last flush, where that was one batch and nobody else wrote."""
        return self._stream.laid if isinstance(self._stream, SmallRun) else self._laid

    @property
    def dirty(self) -> bool:
        return bool(self._patches) or (self._stream is not None and self._stream.pending)

    @property
    def newest(self) -> Attr:
        """As of the last batch, from any thread; look at ``dirty`` before."""
        stream = self._stream
        return self.attr if stream is None or stream.attr is None else stream.attr

    @property
    def quick(self) -> bool:
        """A flush costs microseconds."""
        return self._patch_bytes <= _RUN and (self._stream is None or self._stream.quick)

    @property
    def error(self) -> GravitonError | None:
        return self._stream.error if self._stream is not None else None

    def overlaps(self, start: int, end: int) -> bool:
        """Whether a reader of [start, end) must wait for a flush."""
        if not self.dirty:
            return False
        if end > self.attr.size or self._stream is not None:
            return True
        return any(at < end and start < at + len(patch) for at, patch in self._patches.items())

    def write_is_quick(self, offset: int, size: int) -> bool:
        """``write`` would only take the bytes over: no waiting for workers, stores or disks."""
        stream = self._stream
        flushes = self._ingest.inline  # in microseconds; elsewhere each is a call to a server
        if stream is None:
            appends = offset == self.size and not self._patches
            room = len(self._patches) < _PATCHES_MAX - 1 and self._patch_bytes + size < _PATCH_BYTES_MAX
            return room and not (appends and offset) and (flushes or self._patches_stay(offset, size))
        if offset == stream.end:
            return True
        inside = offset >= stream.gathered_from and offset + size <= stream.end
        return stream.quick and (inside or flushes or not stream.pending)

    def _patches_stay(self, offset: int, size: int) -> bool:
        """Writing there does not mean to store the patches first."""
        same = self._patches.get(offset)
        if same is not None and len(same) >= size:
            return True
        return not self._patches or (size < _RUN and not self._collides(offset, offset + size))

    def write(self, offset: int, data: bytes) -> None:
        """Take bytes over; they are copied only where several small writes are gathered.

        Raises what an earlier write failed with, if another try fails too.
        """
        if self.error is not None:
            self.flush()
        now = self.mtime_ns = time.time_ns()
        stream = self._stream
        if stream is not None and offset == stream.end:
            if isinstance(stream, SmallRun) and not stream.takes(len(data)):
                stream = self._stream = stream.grown()
            stream.append(data, now)
        elif stream is None or not stream.overwrite(offset, data, now):
            self._elsewhere(offset, data, now)
        self.size = max(self.size, offset + len(data))

    def _elsewhere(self, offset: int, data: bytes, now: int) -> None:
        self._finish_run()
        if len(data) >= _RUN or (offset == self.size and not self._patches):
            self._flush_patches()
            self._start_run(offset, len(data)).append(data, now)
        else:
            self._patch(offset, data)

    def _start_run(self, offset: int, size: int) -> Stream | SmallRun:
        whole = offset == 0 and self.size == 0
        if whole and size <= self._ingest.format.block_min:
            self._stream = small = SmallRun(self._ingest, self._ino, self.attr.version)
            return small
        stream = Stream(self._ingest, self._ino, offset, self.attr.version, whole=whole)
        if offset and offset == self.attr.size == self.size:
            stream.preload(self._tail_of(self.attr))
        self._stream = stream
        return stream

    def _finish_run(self) -> None:
        if self._stream is not None:
            self._stream.flush()
            self._settled()
            self._stream = None

    def _patch(self, offset: int, data: bytes) -> None:
        size = len(data)
        same = self._patches.get(offset)
        if same is not None and len(same) >= size:
            same[:size] = data
            return
        for at, patch in self._patches.items():
            if at <= offset <= at + len(patch) and (inside := at + len(patch) - offset) >= 0:
                if self._collides(offset + inside, offset + size, but=at):
                    break
                patch[offset - at : offset - at + size] = data
                self._grow(max(0, size - inside))
                return
        else:
            if not self._collides(offset, offset + size):
                self._patches[offset] = bytearray(data)
                self._grow(size)
                return
        self._flush_patches()
        self._patches[offset] = bytearray(data)
        self._grow(size)

    def _collides(self, start: int, end: int, but: int = -1) -> bool:
        return any(at < end and start < at + len(patch) for at, patch in self._patches.items() if at != but)

    def _grow(self, count: int) -> None:
        self._patch_bytes += count
        self._ingest.budget.add(count)
        if len(self._patches) >= _PATCHES_MAX or self._patch_bytes >= _PATCH_BYTES_MAX:
            self._flush_patches()

    @property
    def small(self) -> bool:
        """All that is not stored is one block of a new file: one batch has it, and other ops with it."""
        return isinstance(self._stream, SmallRun) and self._stream.pending and not self._patches

    def sealing(self) -> Op | None:
        """What seals a file that is stored already; it is not sealed again then."""
        stream = self._stream
        op = stream.sealing() if isinstance(stream, SmallRun) and not self._patches else None
        if op is not None:
            self._stream = None
        return op

    def flush(self, *, seal: bool = False, durable: bool = False, attributes: SetAttr | None = None) -> None:
        """Everything into the namespace. May block. After an error it is kept for the next try.
        ``attributes``: change them behind it."""
        if attributes is not None:
            self._flush_with(attributes, seal, durable)
        elif self._stream is not None:
            self._stream.flush(seal=seal, durable=durable)
            self._settled()
            if seal:
                self._stream = None
        elif self._patches:
            self._flush_patches(durable=durable)
        elif durable:
            self._ingest.session.commit()

    def _flush_with(self, attributes: SetAttr, seal: bool, durable: bool) -> None:
        if self.small and isinstance(self._stream, SmallRun):
            self._stream.flush(seal=seal, durable=durable, after=(attributes,))
            self._settled()
            if seal:
                self._stream = None
        else:
            self.flush(seal=seal)
            self.attr = self._ingest.session.submit_for_attr(attributes, durable=durable)
        self.mtime_ns = self.attr.mtime_ns

    def push(self) -> None:
        """Start storing what is gathered, without waiting for it."""
        if self._stream is not None:
            self._stream.push()

    def _settled(self) -> None:
        assert self._stream is not None
        if self._stream.attr is not None:
            self.attr = self._stream.attr
        self._laid = self.laid

    def _flush_patches(self, *, durable: bool = False) -> None:
        if not self._patches:
            return
        pieces = [
            piece
            for offset, patch in sorted(self._patches.items())
            for piece in self._ingest.hash_pieces(offset, memoryview(bytes(patch)), _lengths(len(patch)))
        ]
        end = max(offset + len(patch) for offset, patch in self._patches.items())

        named: tuple[Extent, ...] = ()

        def ops(extents: tuple[Extent, ...]) -> tuple[Op, ...]:
            nonlocal named
            named = extents
            return (Write(self._ino, extents, end, ANY, None, self.mtime_ns),)

        attr = self._ingest.commit_pieces(pieces, ops, durable=durable)[0]
        assert isinstance(attr, Attr)
        before = self.attr
        key = (attr.content, attr.version)
        alone = attr.version == before.version + 1
        self._laid = Laid((before.content, before.version), key, named, whole=False) if alone else None
        self.attr = attr
        self._patches.clear()
        self._ingest.budget.release(self._patch_bytes)
        self._patch_bytes = 0

    def discard(self) -> None:
        """Drop what is not stored: the file is truncated to nothing, or nobody can reach it."""
        if self._stream is not None:
            self._stream.discard()
            self._stream = None
        self._ingest.budget.release(self._patch_bytes)
        self._patches.clear()
        self._patch_bytes = 0

    def reset(self, attr: Attr) -> None:
        """Go on from attributes that somebody else's op has answered; nothing may be dirty."""
        self.attr = attr
        self.size = attr.size
        self.mtime_ns = attr.mtime_ns
        self._stream = None


def _lengths(size: int) -> list[int]:
    """A patch is one block, or several of the largest size."""
    largest = 1 << 20
    return [largest] * (size // largest) + ([size % largest] if size % largest else [])
