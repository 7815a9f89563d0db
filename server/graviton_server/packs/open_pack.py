"""A pack that is being written."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from typing_extensions import Buffer

from graviton_server.index import Entry, Location
from graviton_server.packs.format import (
    ALIGNMENT,
    RECORD_HEADER,
    Records,
    encode_header,
    encode_padding,
    encode_record,
    encode_trailer,
    pack_key,
)
from gravitonfs.core.ids import PackNumber
from gravitonfs.errors import GravitonError
from gravitonfs.ports.blocks import Block
from gravitonfs.ports.target import AppendTarget


class Sealed(NamedTuple):
    length: int
    footer: bytes


class OpenPack:
    """``lock`` guards the records, the length and ``closed``; it is held while bytes are copied into
    the file's buffers, and never during a flush. Nothing that talks to the database is called here.
    """

    def __init__(self, number: PackNumber, uuid: bytes, store: bytes, target: AppendTarget) -> None:
        self.number = number
        self.uuid = uuid
        self.key = pack_key(uuid)
        self.lock = threading.Lock()
        self.closed = False  # no more appends
        self.lost = False  # a flush failed: what was not durable is to be stored elsewhere
        self.forgotten = False  # nothing may rely on it: its blocks stay out of the index
        self.indexing = threading.Lock()
        self.finishing = threading.Lock()  # held by the one thread that seals or rescues it
        self._sealed: Sealed | None = None
        self.records = Records()
        self._header = encode_header(uuid, store)
        self.file = target.create(self.key)
        self.length = 0
        self.data_end = 0  # where the last record ends
        self.durable = 0
        self.indexed = 0  # records
        self._write([self._header])

    def _write(self, buffers: Sequence[Buffer]) -> None:
        self.file.append(buffers)
        self.length += sum(memoryview(part).nbytes for part in buffers)

    def append(
        self, blocks: Sequence[Block], limit: int, note: Callable[[Iterable[Entry]], None] | None = None
    ) -> list[Location] | None:
        """Add the blocks; None when the pack is closed, or would grow beyond ``limit`` bytes. ``note``
        is told where they are before anybody can seal the pack."""
        with self.lock:
            if self.closed:
                return None
            number = self.number
            at = self.length
            buffers: list[Buffer] = []
            locations: list[Location] = []
            for block in blocks:
                payload = block.payload
                stored = len(payload) if type(payload) is bytes else memoryview(payload).nbytes
                buffers += (encode_record(block.id, block.codec, stored, block.plain_length), payload)
                locations.append(Location(number, at, stored, block.plain_length, block.codec))
                at += RECORD_HEADER + stored
            if at > limit and len(self.records):
                return None
            self.file.append(buffers)
            self.length = self.data_end = at
            add = self.records.add
            for block, location in zip(blocks, locations, strict=True):
                add(block.id, location.offset, location.stored, location.plain, location.codec)
            if note is not None:
                note(zip([block.id for block in blocks], locations, strict=True))
            return locations

    @property
    def dirty(self) -> bool:
        """Some record has not been synced."""
        with self.lock:
            return self.durable < self.data_end

    def close(self) -> None:
        """No more appends."""
        with self.lock:
            self.closed = True

    def sync(self) -> None:
        """All records that are in now are durable. Concurrent callers share one flush."""
        with self.lock:
            wanted = self.data_end
            if self.durable >= wanted:
                return  # a pack that is being sealed ends here: nothing may come behind its trailer
            if self.length % ALIGNMENT:
                self._write([encode_padding(self.length)])
        try:
            durable = self.file.sync()
        except GravitonError:
            with self.lock:
                if self.durable >= wanted:  # sealed and closed meanwhile
                    return
            raise
        with self.lock:
            self.durable = max(self.durable, durable)

    def durable_records(self) -> int:
        """How many records, from the first, a good sync has covered."""
        with self.lock:
            count = bisect_right(self.records.offsets, self.durable)
            if count and self.records.end(count - 1) > self.durable:
                count -= 1
            return count

    def entries(self, start: int, stop: int) -> list[Entry]:
        records = self.records
        with self.lock:
            return [
                (
                    records.id(at),
                    Location(
                        self.number,
                        records.offsets[at],
                        records.stored[at],
                        records.plain[at],
                        records.codecs[at],
                    ),
                )
                for at in range(start, stop)
            ]

    def seal(self) -> Sealed:
        """Write footer and trailer of a closed, synced pack; durable when this returns. Repeatable."""
        if self._sealed is None:
            footer = self.records.encode()
            self._write([footer, encode_trailer(self.length, footer, self._header)])
            self._sealed = Sealed(self.length, footer)
        self.durable = self.file.sync()
        return self._sealed
