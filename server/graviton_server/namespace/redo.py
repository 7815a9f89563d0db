"""The redo log beside a database: one small write makes a batch durable, long before the database has it.

A commit of the database for one small file writes fourteen pages into its log, behind the log's end; here
the batch itself, with all that its effect depended on, goes over old zeroes in one direct write (8 KiB in
0.3 ms instead of 57 KiB in 2 ms on a busy disk). Records belong to an epoch, eight random bytes that the
database holds: its next commit has everything that the records say, and changes the epoch, which voids
them. What an interrupted process has left is applied again before anything else (``recovery``).

Guarded by the store's lock. docs/format/namespace.md has the bytes.
"""

from __future__ import annotations

import errno
import mmap
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import google_crc32c

from gravitonfs.core.durable import sync_directory
from gravitonfs.errors import Damaged

SIZE: Final = 8 << 20
RECORD_MAX: Final = 1 << 20
SECTOR: Final = 4096
"""No acknowledged sector is ever written again: each record begins in a new one."""
EPOCH_SIZE: Final = 8

_MAGIC: Final = b"GRVREDO1"
_HEAD: Final = struct.Struct("<8s8sQI")
_CRC: Final = struct.Struct("<I")
_PAYLOAD: Final = _HEAD.size + _CRC.size
_DIRECT_REFUSED: Final = {errno.EINVAL, errno.EOPNOTSUPP}


def redo_path(database: Path) -> Path:
    return database.with_name(database.name + "-redo")


def read_records(path: Path, epoch: bytes) -> Iterator[bytes]:
    """The payloads of this epoch, in order, up to the end or to a record that was not finished.

    Raises Damaged where a whole record lies behind one that is not: each is written when the one before
    is durable, so what cannot be read there was acknowledged.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    at = number = 0
    while (payload := _record(data, at, epoch, number)) is not None:
        yield payload
        number += 1
        at += _padded(len(payload))
    for later in range(at + SECTOR, len(data), SECTOR):
        if _record(data, later, epoch) is not None:
            raise Damaged(
                f"{path} is damaged at offset {at}: what was acknowledged in the last second before the crash"
                " cannot be read; remove that file to go on without it"
            )


def _record(data: bytes, at: int, epoch: bytes, number: int | None = None) -> bytes | None:
    """The payload of the record at ``at``, if it is whole and of this epoch (and has this number)."""
    if at + _PAYLOAD > len(data):
        return None
    magic, found, sequence, length = _HEAD.unpack_from(data, at)
    start = at + _PAYLOAD
    if magic != _MAGIC or found != epoch or number not in (None, sequence) or start + length > len(data):
        return None
    payload = data[start : start + length]
    if _CRC.unpack_from(data, at + _HEAD.size)[0] != _checksum(data[at : at + _HEAD.size], payload):
        return None
    return payload


def _padded(length: int) -> int:
    size = _PAYLOAD + length
    return size + -size % SECTOR


def _checksum(head: bytes, payload: bytes) -> int:
    checksum: int = google_crc32c.extend(google_crc32c.value(head), payload)
    return checksum


class RedoLog:
    """Open for writing, from its start. Raises OSError where the file cannot be made or written."""

    def __init__(self, path: Path, epoch: bytes) -> None:
        self._path = path
        _make(path)
        self._fd = _open(path)
        self._buffer = mmap.mmap(-1, _PAYLOAD + RECORD_MAX + SECTOR)
        self._synced_writes = True
        self.restart(epoch)

    def restart(self, epoch: bytes) -> None:
        """The database has an epoch of its own now: what is here is void."""
        self.epoch = epoch
        self._at = self._sequence = 0

    @property
    def empty(self) -> bool:
        return self._sequence == 0

    def append(self, payload: bytes) -> bool:
        """Durable when this returns True; False, and nothing done, where there is no room.

        After an OSError it is unknown whether the record will be found: commit the database.
        """
        size, padded = _PAYLOAD + len(payload), _padded(len(payload))
        if len(payload) > RECORD_MAX or self._at + padded > SIZE:
            return False
        head = _HEAD.pack(_MAGIC, self.epoch, self._sequence, len(payload))
        buffer = self._buffer
        buffer[:_PAYLOAD] = head + _CRC.pack(_checksum(head, payload))
        buffer[_PAYLOAD:size] = payload
        buffer[size:padded] = bytes(padded - size)
        with memoryview(buffer) as view, view[:padded] as part:
            self._write(part)
        self._at += padded
        self._sequence += 1
        return True

    def _write(self, part: memoryview) -> None:
        if self._synced_writes:
            try:
                written = os.pwritev(self._fd, [part], self._at, os.RWF_DSYNC)
            except OSError as error:
                if error.errno not in _DIRECT_REFUSED:
                    raise
                self._synced_writes = False
            else:
                self._whole(written, part)
                return
        self._whole(os.pwrite(self._fd, part, self._at), part)
        os.fdatasync(self._fd)

    def _whole(self, written: int, part: memoryview) -> None:
        if written != len(part):
            raise OSError(errno.EIO, f"only {written} of {len(part)} bytes were written", str(self._path))

    def close(self) -> None:
        os.close(self._fd)


def _make(path: Path) -> None:
    """A file of zeroes that are on the disk: later writes change no metadata. Durable, name included."""
    try:
        if path.stat().st_size == SIZE:
            return
    except FileNotFoundError:
        pass
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        zeroes = bytes(1 << 20)
        for start in range(0, SIZE, len(zeroes)):
            if os.pwrite(fd, zeroes, start) != len(zeroes):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        os.fsync(fd)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)
    sync_directory(path.parent)


def _open(path: Path) -> int:
    flags = os.O_WRONLY | os.O_CLOEXEC
    try:
        return os.open(path, flags | os.O_DIRECT)
    except OSError as error:
        if error.errno not in _DIRECT_REFUSED:
            raise
        return os.open(path, flags)
