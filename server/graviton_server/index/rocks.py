"""The block index on RocksDB, in raw mode (docs/format.md)."""

from __future__ import annotations

import logging
import shutil
import struct
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, cast

from rocksdict import (
    BlockBasedIndexType,
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    Options,
    Rdict,
    WriteBatch,
)

from graviton_server.index import Entry, Location, PackMark
from gravitonfs.core.ids import BlockId, PackNumber
from gravitonfs.core.releases import Format, newer
from gravitonfs.errors import Unavailable

VERSION: Final = 1
_VALUE = struct.Struct("<QIIIB")
_MARK = struct.Struct("<QQ")
_META = struct.Struct("<I")
_META_KEY = b"index"
_MARK_PREFIX = bytes(8)  # no block id begins so: marks lie together, before the entries
_MARK_KEY = 24
_DAMAGED = "DAMAGED"
_BATCH = 4096

_log = logging.getLogger(__name__)
_unpack = _VALUE.unpack
_pack = _VALUE.pack


def _options(cache_bytes: int) -> Options:
    table = BlockBasedOptions()
    table.set_block_cache(Cache(cache_bytes))
    table.set_cache_index_and_filter_blocks(True)
    table.set_pin_l0_filter_and_index_blocks_in_cache(True)
    table.set_bloom_filter(10, False)
    # Filters and indexes in pieces: a whole filter of a million blocks is larger than a shard of the
    # cache, would never be kept in it, and would be read anew for every look-up.
    table.set_index_type(BlockBasedIndexType.two_level_index_search())
    table.set_partition_filters(True)
    table.set_metadata_block_size(4096)
    table.set_pin_top_level_index_and_filter(True)
    table.set_format_version(5)
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_block_based_table_factory(table)
    options.set_compression_type(DBCompressionType.none())  # ids do not compress
    options.set_write_buffer_size(8 << 20)
    options.set_max_write_buffer_number(2)
    options.set_max_total_wal_size(32 << 20)
    options.set_max_background_jobs(2)
    options.set_max_open_files(64)
    options.set_keep_log_file_num(1)
    options.set_max_log_file_size(1 << 20)
    options.set_stats_dump_period_sec(0)
    options.set_skip_stats_update_on_db_open(True)
    return options


def _mark_key(uuid: bytes) -> bytes:
    return _MARK_PREFIX + uuid


class RocksIndex:
    """A ``BlockIndex``. A damaged database is replaced by an empty one, which recovery fills.

    ``_lock`` makes ``forget`` and ``sweep`` (read, then delete) atomic against ``write``.
    """

    def __init__(self, path: Path, *, cache_bytes: int = 16 << 20) -> None:
        self._path = Path(path)
        self._cache_bytes = cache_bytes
        self._lock = threading.Lock()
        self._damaged = False
        self._db = self._open()

    def _open(self) -> Rdict:
        if (self._path / _DAMAGED).exists():
            return self._replace("was found damaged")
        try:
            db = Rdict(str(self._path), options=_options(self._cache_bytes))
        except Exception as error:
            if "lock" in str(error).lower() and "LOCK" in str(error):
                raise Unavailable(f"the block index {self._path} is in use by another process") from error
            return self._replace(f"cannot be opened ({error})")
        meta = db.get(_META_KEY)
        if meta is None:
            if next(iter(db.keys()), None) is not None:
                db.close()
                return self._replace("has no format record")
            db.put(_META_KEY, _META.pack(VERSION))
        elif (version := _META.unpack(meta)[0]) > VERSION:
            db.close()
            raise newer(
                f"the block index {self._path}", Format.INDEX, version, otherwise=", or delete the index"
            )
        return db

    def _replace(self, why: str) -> Rdict:
        _log.warning("the block index %s; it is rebuilt from the packs", why)
        return self._fresh()

    def _fresh(self) -> Rdict:
        shutil.rmtree(self._path, ignore_errors=True)
        db = Rdict(str(self._path), options=_options(self._cache_bytes))
        db.put(_META_KEY, _META.pack(VERSION))
        return db

    def _items(self, start: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        return cast("Iterator[tuple[bytes, bytes]]", self._db.items(from_key=start))

    def get(self, ids: Sequence[BlockId]) -> list[Location | None]:
        get = self._db.get
        try:
            return [None if value is None else Location(*_unpack(value)) for value in map(get, ids)]
        except Exception as error:
            if "Corruption" not in str(error):
                raise self._unavailable(error) from error
            self._note_damage(error)
            return [None] * len(ids)

    def _note_damage(self, error: Exception) -> None:
        """Go on without what cannot be read (hints still lead to blocks); the next start rebuilds."""
        if not self._damaged:
            self._damaged = True
            _log.error("the block index is damaged and will be rebuilt at the next start: %s", error)
            (self._path / _DAMAGED).touch()

    def write(self, uuid: bytes, mark: PackMark, entries: Iterable[Entry]) -> None:
        batch = WriteBatch(raw_mode=True)
        put = batch.put
        for block, location in entries:
            put(block, _pack(*location))
        put(_mark_key(uuid), _MARK.pack(*mark))
        self._apply(batch)

    def _apply(self, batch: WriteBatch) -> None:
        with self._lock:
            try:
                self._db.write(batch)
            except Exception as error:
                raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> Unavailable:
        return Unavailable(f"the block index {self._path}: {error}")

    def marks(self) -> dict[bytes, PackMark]:
        result = {}
        for key, value in self._items(_MARK_PREFIX):
            if key[:8] != _MARK_PREFIX:
                break
            if len(key) == _MARK_KEY:
                number, through = _MARK.unpack(value)
                result[key[8:]] = PackMark(PackNumber(number), through)
        return result

    def mark(self, uuid: bytes) -> PackMark | None:
        value = self._db.get(_mark_key(uuid))
        if value is None:
            return None
        number, through = _MARK.unpack(value)
        return PackMark(PackNumber(number), through)

    def unmark(self, uuid: bytes) -> None:
        batch = WriteBatch(raw_mode=True)
        batch.delete(_mark_key(uuid))
        self._apply(batch)

    def remove(self, ids: Sequence[BlockId]) -> None:
        batch = WriteBatch(raw_mode=True)
        for block in ids:
            batch.delete(block)
        self._apply(batch)

    def forget(self, number: PackNumber, ids: Iterable[BlockId]) -> None:
        batch = WriteBatch(raw_mode=True)
        with self._lock:
            get = self._db.get
            for block in ids:
                value = get(block)
                if value is not None and _unpack(value)[0] == number:
                    batch.delete(block)
            self._db.write(batch)

    def sweep(self, numbers: set[PackNumber]) -> int:
        removed = 0
        with self._lock:
            batch = WriteBatch(raw_mode=True)
            for key, value in self._items():
                if len(key) == 32 and _unpack(value)[0] in numbers:
                    batch.delete(key)
                    removed += 1
                    if batch.len() >= _BATCH:
                        self._db.write(batch)
                        batch = WriteBatch(raw_mode=True)
            self._db.write(batch)
        return removed

    def entries(self) -> Iterator[Entry]:
        for key, value in self._items():
            if len(key) == 32:
                yield BlockId(key), Location(*_unpack(value))

    def clear(self) -> None:
        with self._lock:
            self._db.close()
            self._db = self._fresh()
            self._damaged = False

    def flush(self) -> None:
        self._db.flush_wal(True)

    def close(self) -> None:
        self._db.close()
