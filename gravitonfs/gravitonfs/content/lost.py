"""``.graviton-lost`` in a volume's root: what could not be put where it belongs, for people to look at."""

from __future__ import annotations

import json
import logging
import os
import secrets
import stat
import threading
import time
from collections.abc import Iterator
from typing import Final

from gravitonfs.content.caching_namespace import CachingNamespace
from gravitonfs.content.volume import Volume
from gravitonfs.core.extents import Extent
from gravitonfs.core.ids import NO_INO, Ino
from gravitonfs.errors import Exists, GravitonError, NotADirectory, NotFound
from gravitonfs.ports.ops import Append, Batch, Create, Op, Publish, Write

log = logging.getLogger("graviton.lost")

DIRECTORY: Final = b".graviton-lost"
_DIRECTORY_MODE: Final = 0o040700
_FILE_MODE: Final = 0o100600
_NAME: Final = 100


class LostAndFound:
    """Thread-safe; ``_lock`` guards the directory's inode."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._lock = threading.Lock()
        self._directory: Ino | None = None
        self._stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())

    def _into(self) -> Ino:
        """Made with the first file."""
        with self._lock:
            if self._directory is None:
                volume = self._volume
                made = Create(
                    volume.namespace.root,
                    DIRECTORY,
                    volume.new_ino(),
                    _DIRECTORY_MODE,
                    os.getuid(),
                    os.getgid(),
                )
                try:
                    attr = volume.submit_for_attr(made)
                except Exists:
                    found = volume.namespace.lookup(volume.namespace.root, DIRECTORY)
                    if found is None:
                        raise NotFound("/.graviton-lost went away just now") from None
                    if not stat.S_ISDIR(found.mode):
                        raise NotADirectory("/.graviton-lost is no directory: rename it") from None
                    attr = found
                self._directory = attr.ino
            return self._directory

    def keep_bytes(self, label: str, size: int, pieces: Iterator[tuple[int, bytes]]) -> str:
        """A file of ``size`` bytes with these pieces, in the order of their offsets, and holes between them.
        Its path in the volume. Durable."""
        with self._volume.stage(mode=0o600, uid=os.getuid(), gid=os.getgid()) as staged:
            for offset, data in pieces:
                staged.skip(offset - staged.size)
                staged.write(data)
            staged.skip(size - staged.size)
            name = self._name(label)
            staged.publish(self._into(), name, absent=True)
            return _path(name)

    def keep_text(self, label: str, text: str) -> str:
        data = text.encode("utf-8", "backslashreplace")
        return self.keep_bytes(label, len(data), iter([(0, data)]))

    def keep_batch(self, session: int, batch: Batch, why: str) -> None:
        """What it was, as text, and the bytes that it would have laid over files. Errors go to the log."""
        label = f"session-{session}-batch-{batch.number}"
        try:
            told = self.keep_text(f"{label}.json", _described(session, batch, why))
            log.error("batch %d of session %d is described in %s", batch.number, session, told)
            for at, op in enumerate(batch.ops):
                if isinstance(op, (Write, Append)) and op.extents:
                    path = self._keep_extents(f"{label}-{at}-inode-{op.ino}", batch, op)
                    log.error("the bytes of batch %d for inode %d are in %s", batch.number, op.ino, path)
        except GravitonError as error:
            log.error("batch %d of session %d could not be kept: %s", batch.number, session, error)

    def _keep_extents(self, label: str, batch: Batch, op: Write | Append) -> str:
        """The blocks are in the store, or in the batch: they are named once more."""
        volume = self._volume
        ino = volume.new_ino()
        end = op.end if isinstance(op, Write) else op.length

        name = self._name(label)
        ops: tuple[Op, ...] = (
            Create(NO_INO, b"", ino, _FILE_MODE, os.getuid(), os.getgid()),
            Write(ino, op.extents, max(end, _end(op.extents))),
            Publish(ino, self._into(), name, None, True),
        )
        volume.session.submit(ops, packs=batch.packs, loose=batch.loose, durable=True)
        return _path(name)

    def _name(self, label: str) -> bytes:
        return f"{self._stamp}-{_safe(label)}-{secrets.token_hex(3)}".encode()


def keep_unapplied(volume: Volume) -> None:
    """What is answered from memory and cannot be applied then is kept there; packs that have gone are told
    to the store."""
    names = volume.namespace
    if isinstance(names, CachingNamespace) and names.answering is not None:
        names.answering.lost = LostAndFound(volume).keep_batch
        names.answering.forget = volume.store.forget_packs


def _path(name: bytes) -> str:
    return f"/{DIRECTORY.decode()}/{name.decode()}"


def _safe(label: str) -> str:
    return "".join(c if c.isalnum() or c in "-._" else "_" for c in label)[:_NAME]


def _end(extents: tuple[Extent, ...]) -> int:
    return max(extent.offset + extent.length for extent in extents)


def _described(session: int, batch: Batch, why: str) -> str:
    told = {
        "session": session,
        "batch": batch.number,
        "why": why,
        "time_ns": batch.time_ns,
        "ops": [{"op": type(op).__name__} | _named(op) for op in batch.ops],
    }
    return json.dumps(told, indent=2, default=str) + "\n"


def _named(op: Op) -> dict[str, object]:
    return {name: _readable(getattr(op, name)) for name in op.__struct_fields__}


def _readable(value: object) -> object:
    """Names as text; extents as what they cover."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, tuple) and value and isinstance(value[0], Extent):
        return [{"offset": one.offset, "length": one.length, "block": one.block.hex()} for one in value]
    return value
