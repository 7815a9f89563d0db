"""What a dead mount's journal holds goes into the volume, before another mount answers.

The dead mount's session is resumed: its batches are applied exactly once; then the written bytes that no
batch has named. What cannot go where it belongs, because the session was ended or somebody else has changed
the file since, is kept in ``.graviton-lost``. Done again after a crash this changes nothing more.
"""

from __future__ import annotations

import logging
import stat
import time
from collections.abc import Callable
from typing import Final

from gravitonfs.client.connection import Connection
from gravitonfs.client.resuming import Resumed
from gravitonfs.client.volumes import RemoteVolume, open_volume
from gravitonfs.content.lost import LostAndFound
from gravitonfs.core.ids import Ino
from gravitonfs.errors import Fenced, GravitonError, Kind, NotFound, QuotaExceeded, Stale
from gravitonfs.journal import found as finding
from gravitonfs.journal import records
from gravitonfs.journal.found import Found, FoundInode, Piece, Write
from gravitonfs.journal.journal import Journal
from gravitonfs.journal.place import Place
from gravitonfs.ports.ops import Attr, Batch, Failure, Reply, SetAttr

log = logging.getLogger("graviton.journal")

_STEP: Final = 4 << 20
_UNBOUNDED: Final = 1 << 60

Progress = Callable[[int, int], None]
"""Bytes dealt with, and of how many."""


class Recovery:
    """Of one journal."""

    def __init__(
        self, place: Place, found: Found, connection: Connection, volume: str, timeout: float, tell: Progress
    ) -> None:
        self._place = place
        self._found = found
        self._connection = connection
        self._name = volume
        self._timeout = timeout
        self._tell = tell
        self._heard: list[Reply] = []
        """What batches of the dead mount are answered now, which it has not heard."""
        self._done = self._restored = self._aside = 0
        self._total = sum(write.length for one in found.inodes.values() for write in one.writes)

    def run(self) -> bool:
        """False where the journal is another store's: it is left as it is."""
        found = self._found
        self._evicted = False
        try:
            self._volume = self._open(resume=True)
        except Fenced as error:
            if self._place.stored:
                return True  # it was on its way out
            log.warning("session %d of a dead mount cannot be resumed: %s", found.head.session, error)
            self._evicted = True
            self._volume = self._open(resume=False)
        try:
            if found.head.store and self._volume.store_uuid != found.head.store:
                self._refuse()
                return False
            if not self._place.stored:
                self._restore()
                self._place.mark_stored()
        finally:
            self._volume.close()
        return True

    def _open(self, *, resume: bool) -> RemoteVolume:
        """With a journal of its own behind the dead one, so that this can be cut short, too."""
        found = self._found
        if resume and not found.head.handle:
            raise Fenced("the journal does not tell which session it was")
        resumed = journal = None
        if resume:
            known = {ino: one.known for ino, one in found.inodes.items() if one.known}
            resumed = Resumed(
                found.head.handle, _answered(found), _unanswered(found), known, self._heard.extend
            )
            if found.damage is None:
                after = found.last_segment, found.last_sequence
                journal = Journal(self._place.path, source=found.head.source, limit=_UNBOUNDED, after=after)
        return open_volume(
            self._connection,
            self._name,
            label=f"recovery of session {found.head.session}",
            timeout=self._timeout,
            journal=journal,
            resume=resumed,
        )

    def _refuse(self) -> None:
        log.warning(
            "the journal in %s belongs to another store, mounted from %s: it is left alone; mount that with"
            " the same local directory, and it is uploaded",
            self._place.path,
            self._found.head.source,
        )

    def _restore(self) -> None:
        found, volume = self._found, self._volume
        if found.damage is not None:
            log.error(
                "the journal is damaged: %s at byte %d: %s; what comes behind it is not relied on",
                found.damage.path,
                found.damage.at,
                found.damage.why,
            )
        self._lost = LostAndFound(volume)
        resumed_at = volume.last_batch
        if not self._evicted:
            volume.commit()  # settles first what was sent and not answered
            for reply in self._heard:
                found.hear(records.answer_of(reply))
        self._last = volume.last_batch
        late = {reply.number for reply in self._heard if reply.results}
        self._dropped = {batch.number for batch in _unanswered(found) if batch.number > resumed_at} - late
        self._undone = {Ino(ino) for lost in volume.lost_batches() for ino in records.rewritten(lost.batch)}
        for ino, inode in sorted(found.inodes.items()):
            self._restore_inode(ino, inode)
        for batch in found.orphaned:
            if self._evicted or batch.number > self._last:
                self._lost.keep_batch(found.head.session, batch, "the journal is damaged before it")
                self._aside += 1
        volume.commit()
        log.info(
            "the journal of session %d is stored: %d bytes were missing, %d files are in /.graviton-lost",
            found.head.session,
            self._restored,
            self._aside,
        )

    def _restore_inode(self, ino: Ino, inode: FoundInode) -> None:
        writes = self._missing(ino, inode)
        if writes:
            self._put(ino, inode, [write for write in writes if not write.behind])
            if behind := [write for write in writes if write.behind]:
                self._keep_different(ino, behind, "the journal is damaged before it")
        self._done += sum(write.length for write in inode.writes)
        self._tell(self._done, self._total)

    def _missing(self, ino: Ino, inode: FoundInode) -> list[Write]:
        """What the namespace is not known to have, and no change of the size made void."""
        through = max((sequence for sequence, number in inode.cleared if self._happened(number)), default=0)
        if ino not in self._undone:
            marks = [sequence for sequence, number in inode.marks if self._is_sure(number)]
            through = max(through, *marks, 0)
        return [write for write in inode.writes if write.sequence > through]

    def _is_sure(self, number: int) -> bool:
        """Whether the namespace has what batches up to this number did."""
        return number <= (self._found.durable if self._evicted else self._last)

    def _happened(self, number: int) -> bool:
        found = self._found.batches.get(number)
        if number in self._dropped or (found is not None and found.answered):
            return False
        return self._is_sure(number) or (found is not None and found.answered is not None)

    def _put(self, ino: Ino, inode: FoundInode, writes: list[Write]) -> None:
        """What differs from the file is written to it, if it is still the one that the dead mount knew."""
        if not writes:
            return
        attr = self._attr(ino)
        if attr is None:
            if ino not in self._found.gone:
                self._keep(ino, writes, "the file does not exist any more")
            return
        differing = self._differing(attr, finding.final(writes))
        if not differing:
            return
        if self._evicted:
            self._keep(ino, writes, "the session was ended")
        elif (attr.content, attr.version) not in inode.known:
            self._keep(ino, writes, "somebody else has changed the file")
        else:
            try:
                self._write(attr, differing, max(write.time_ns for write in writes))
            except QuotaExceeded as error:
                self._keep(ino, writes, str(error))

    def _attr(self, ino: Ino) -> Attr | None:
        try:
            attr = self._volume.namespace.attr(ino)
        except (Stale, NotFound):
            return None
        return attr if attr.nlink and stat.S_ISREG(attr.mode) else None

    def _differing(self, attr: Attr, pieces: list[Piece]) -> list[Piece]:
        reader = self._volume.reader(attr)
        differing = []
        for piece in pieces:
            for at in range(0, piece.length, _STEP):
                part = _part(piece, at)
                if bytes(reader.read(part.offset, part.length)) != part.read():
                    differing.append(part)
        return differing

    def _write(self, attr: Attr, pieces: list[Piece], time_ns: int) -> None:
        volume = self._volume
        writer = volume.writer(attr)
        for piece in pieces:
            writer.write(piece.offset, piece.read())
            self._restored += piece.length
            if volume.ingest.budget.exceeded():
                writer.flush()
        writer.flush()
        volume.submit(SetAttr(attr.ino, mtime_ns=time_ns))

    def _keep_different(self, ino: Ino, writes: list[Write], why: str) -> None:
        attr = self._attr(ino)
        if attr is None:
            if ino not in self._found.gone:
                self._keep(ino, writes, why)
        elif self._differing(attr, finding.final(writes)):
            self._keep(ino, writes, why)

    def _keep(self, ino: Ino, writes: list[Write], why: str) -> None:
        pieces = finding.final(writes)
        parts = (_part(piece, at) for piece in pieces for at in range(0, piece.length, _STEP))
        name = self._name_of(ino)
        path = self._lost.keep_bytes(
            f"inode-{ino}-{name}",
            pieces[-1].offset + pieces[-1].length,
            ((part.offset, part.read()) for part in parts),
        )
        self._aside += 1
        log.error("what the journal has of inode %d (%s) is in %s: %s", ino, name, path, why)

    def _name_of(self, ino: Ino) -> str:
        try:
            found = self._volume.namespace.parent(ino)
        except GravitonError:
            return "gone"
        return "gone" if found is None else found[1].decode("utf-8", "backslashreplace")


def recover(place: Place, connection: Connection, volume: str, timeout: float, tell: Progress) -> None:
    """The journal of one dead mount; the place is empty then, or has another name."""
    found = finding.read(place.path)
    if found is not None:
        log.info("the journal in %s of a dead mount goes into the volume", place.path)
        if not Recovery(place, found, connection, volume, timeout, tell).run():
            return
        if found.damage is not None:
            aside = place.set_aside(time.strftime("damaged-%Y%m%dT%H%M%SZ", time.gmtime()))
            log.error("the damaged journal is kept as %s", aside)
            return
    place.clear()


def _part(piece: Piece, at: int) -> Piece:
    length = min(_STEP, piece.length - at)
    return Piece(piece.offset + at, length, piece.path, piece.at + at)


def _answered(found: Found) -> list[tuple[Batch, Reply]]:
    return [
        (one.batch, Reply(number, (), _failure(one.answered), 0))
        for number, one in sorted(found.batches.items())
        if one.answered is not None
    ]


def _failure(message: str) -> Failure | None:
    return Failure(0, Kind.INTERNAL.value, message) if message else None


def _unanswered(found: Found) -> list[Batch]:
    """All that came behind the last answer."""
    last = max((number for number, one in found.batches.items() if one.answered is not None), default=0)
    return [one.batch for number, one in sorted(found.batches.items()) if number > last]
