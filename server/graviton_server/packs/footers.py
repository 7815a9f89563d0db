"""Footers of sealed packs, read on demand and kept within a byte budget."""

from __future__ import annotations

import threading
from collections import OrderedDict

from blake3 import blake3

from graviton_server.packs.format import TRAILER_SIZE, Records, Trailer, decode_trailer
from gravitonfs.errors import Damaged, GravitonError
from gravitonfs.ports.target import Target, copies_of, report_bad

_TAIL = 64 << 10


class FooterCache:
    """By key of the pack. ``_lock`` guards the map and its size."""

    def __init__(self, target: Target, budget: int = 16 << 20) -> None:
        self._target = target
        self._budget = budget
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Records] = OrderedDict()
        self._size = 0

    def peek(self, key: str) -> Records | None:
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def get(self, key: str, length: int = 0) -> Records:
        """``length``: of the pack, which saves a request; 0 where it is not known. Raises ``NotFound``,
        or ``Damaged`` when the pack has no good footer."""
        found = self.peek(key)
        if found is None:
            found = read_footer(self._target, key, length)
            self.add(key, found)
        return found

    def add(self, key: str, records: Records) -> None:
        with self._lock:
            if key not in self._kept:
                self._kept[key] = records
                self._size += records.nbytes
            while self._size > self._budget and len(self._kept) > 1:
                self._size -= self._kept.popitem(last=False)[1].nbytes

    def drop(self, key: str) -> None:
        with self._lock:
            dropped = self._kept.pop(key, None)
            if dropped is not None:
                self._size -= dropped.nbytes


def read_trailer(target: Target, key: str) -> tuple[int, Trailer | None]:
    """The length of a pack and its trailer, None when it has no good one. Raises ``NotFound``."""
    length = target.head(key).length
    start = max(length - TRAILER_SIZE, 0)
    return length, decode_trailer(target.get(key, start, TRAILER_SIZE), length)


def read_footer(target: Target, key: str, length: int = 0) -> Records:
    """From whichever copy has a good one."""
    try:
        return _read_footer(target, key, length)
    except Damaged:
        bad: list[Target] = []
        for copy in copies_of(target, key):
            try:
                found = _read_footer(copy, key)
            except Damaged:
                bad.append(copy)
            except GravitonError:
                continue
            else:
                for one in bad:
                    report_bad(target, key, one)
                return found
        raise


def _read_footer(target: Target, key: str, length: int = 0) -> Records:
    length = length or target.head(key).length
    start = max(length - _TAIL, 0)
    tail = memoryview(target.get(key, start, _TAIL))
    trailer = decode_trailer(tail[-TRAILER_SIZE:], length)
    if trailer is None:
        raise Damaged(f"the pack {key} has no good trailer")
    if trailer.footer_offset >= start:
        footer = tail[trailer.footer_offset - start :][: trailer.footer_length]
    else:
        footer = memoryview(target.get(key, trailer.footer_offset, trailer.footer_length))
    if blake3(footer).digest() != trailer.footer_digest:
        raise Damaged(f"the footer of the pack {key} is damaged")
    return Records.decode(footer)
