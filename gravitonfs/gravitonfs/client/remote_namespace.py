"""The ``Namespace`` port over NamespaceService.

Nothing is cached here: every answer is the daemon's. While it does not answer, calls wait up to ``timeout``
and then raise ``Unavailable``; what was applied meanwhile is found out by sending it again.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final, TypeVar

from gravitonfs.client.attachment import CALL, SERVICE, Attachment
from gravitonfs.client.batch_numbers import BatchNumbers
from gravitonfs.client.connection import Answer, Connection
from gravitonfs.client.failures import Pauses, until_answered, wait_while
from gravitonfs.client.holding import Holding
from gravitonfs.client.lifeline import Lifeline
from gravitonfs.client.lost_batches import LostBatches
from gravitonfs.client.questions import Questions
from gravitonfs.client.read_regions import ReadRegions
from gravitonfs.client.resuming import Resumed
from gravitonfs.core.extents import Extent
from gravitonfs.core.ids import NO_CONTENT, BlockId, ContentId, Ino
from gravitonfs.errors import (
    Detached,
    Fenced,
    Gap,
    GravitonError,
    Internal,
    Invalid,
    MissingBlocks,
    NoSpace,
    NotFound,
    Stale,
    Throttled,
    Unavailable,
)
from gravitonfs.journal.journal import Journal
from gravitonfs.ports import wire
from gravitonfs.ports.namespace import (
    EVERYTHING,
    BlobRef,
    Change,
    Claims,
    ContentInfo,
    ContentKind,
    Entry,
    Listener,
    Recall,
    RegionMap,
    Room,
    VolumeUsage,
)
from gravitonfs.ports.ops import Attr, Batch, Reply
from gravitonfs.ports.target import Space
from gravitonfs.rpc.graviton.v1 import namespace_pb2 as pb

M = TypeVar("M")

_DETACH: Final = 5.0
_MANY_ANSWERS: Final = 256
"""So many go along with a batch; fewer wait for others, since the daemon needs a transaction for them."""
_CONTENT_KINDS: Final = {int(kind): kind for kind in ContentKind}


class RemoteNamespace:
    """A volume as one session of a daemon sees it. Thread-safe; ``attachment.lock`` orders the batches."""

    inline = False
    settles = True

    def __init__(
        self,
        connection: Connection,
        volume: str = "main",
        *,
        label: str | None = None,
        claims: Claims | None = None,
        listener: Listener | None = None,
        read_only: bool = False,
        recall: Recall | None = None,
        timeout: float = 60.0,
        journal: Journal | None = None,
        resume: Resumed | None = None,
    ) -> None:
        """``resume``: go on with the session of a dead mount; Fenced where it has ended."""
        self.timeout = timeout
        self._listener = listener
        self._questions = Questions(claims)
        self._holding: Holding | None = None
        if listener is not None and recall is not None:
            self._holding = Holding(listener, recall, self._questions.waiting)
        self.lost = LostBatches()
        self._numbers = BatchNumbers()
        self._regions = ReadRegions()
        self.attachment = Attachment(
            connection,
            volume,
            label=label or f"{socket.gethostname()} pid {os.getpid()}",
            read_only=read_only,
            claims=claims is not None,
            listens=listener is not None,
            recalls=self._holding is not None,
            lost=self.lost.keep,
            renewed=self._renewed,
            journal=journal,
        )
        if resume is None:
            until_answered(self.attachment.attach, timeout)
        else:
            self._resume(resume)
        self.volume = volume
        self.root = self.attachment.root
        self.format = self.attachment.format
        self.read_only = self.attachment.read_only
        self._lifeline = Lifeline(self.attachment, self._questions, listener, self._holding)
        self._lifeline.start()

    def _resume(self, resume: Resumed) -> None:
        last = until_answered(lambda left: self.attachment.resume(resume, left), self.timeout)
        self._numbers.resumed(self.attachment.number, last)
        # Sent, and nobody was answered. They may still be on their way, so their numbers are used up.
        sent = max((batch.number for batch in resume.unanswered), default=last)
        self._numbers.unsettled = [Batch(number, 0, ()) for number in range(last + 1, sent + 1)]
        if self.attachment.journal is not None:
            self.attachment.journal.sending(self._numbers.unsettled)

    @property
    def session(self) -> int:
        return self.attachment.number

    def _renewed(self) -> None:
        """On a thread of its own: whoever hears it may ask back, and the caller has the lock."""
        if self._holding is not None:
            self._holding.renewed()
        if self._listener is not None:
            threading.Thread(target=self._listener, args=([EVERYTHING],), name="renewed", daemon=True).start()

    # --- changes -------------------------------------------------------------------------------------

    def apply(self, batches: Sequence[Batch], *, durable: bool) -> list[Reply]:
        attachment = self.attachment
        deadline = time.monotonic() + self.timeout
        pauses = Pauses()
        sent_by = 0
        with attachment.lock:
            while True:
                left = max(deadline - time.monotonic(), 0.1)
                try:
                    attachment.attach(left)
                    self._numbers.of_session(attachment.number)
                    if sent_by not in (0, attachment.number):
                        raise Fenced("the session has ended, and whether this was applied is not known")
                    self._settle(batches, left)
                    sent_by = attachment.number
                    return self._send(batches, durable, left)
                except Detached:
                    attachment.detached(attachment.handle)
                    if time.monotonic() > deadline:
                        raise
                except Gap as gap:
                    self._fill(gap, batches)
                except Throttled as busy:
                    deadline = max(deadline, time.monotonic() + self.timeout)
                    wait_while(busy)
                except Unavailable:
                    left = deadline - time.monotonic()
                    if left <= 0:
                        raise
                    pauses.wait(left)

    def _send(self, batches: Sequence[Batch], durable: bool, left: float) -> list[Reply]:
        attachment, numbers = self.attachment, self._numbers
        outbound = numbers.outbound(batches)
        answers = self._questions.take(_MANY_ANSWERS)
        request = attachment.request_of(outbound, durable=durable)
        if answers is not None:
            request.answers.CopyFrom(answers)
        if attachment.journal is not None:
            attachment.journal.sending(outbound)
        numbers.unsettled = outbound
        try:
            reply = attachment.connection.call(
                SERVICE + "Apply", request, pb.ApplyReply, timeout=min(left, CALL)
            )
        except GravitonError as error:
            self._questions.give_back(answers)
            if not isinstance(error, (Unavailable, Throttled, Detached)):
                numbers.unsettled = []  # a refusal: what was applied of them is sent again by whoever asked
            raise
        numbers.unsettled = []
        replies = wire.decode_replies(reply.replies)
        if len(replies) != len(batches):
            raise Internal(f"{len(batches)} batches were answered with {len(replies)} replies")
        attachment.applied(outbound, replies, reply.incarnation, reply.stamps)
        self._questions.applied(batches)
        self._questions.asked(reply.asked)
        return numbers.inbound(batches, replies)

    def _settle(self, batches: Sequence[Batch], left: float) -> None:
        """An earlier call gave up while the daemon was away: whether its batches were applied is not known,
        and they may yet arrive. They are applied now, once, before their numbers can mean anything else."""
        numbers = self._numbers
        if not numbers.unsettled or numbers.unsettled == numbers.outbound(batches):
            return
        for batch in list(numbers.unsettled):
            request = self.attachment.request_of([batch], durable=False)
            try:
                reply = self._apply_one(request, left)
            except (MissingBlocks, Gap, NoSpace, Invalid):
                nothing = Batch(batch.number, batch.time_ns, ())
                if self.attachment.journal is not None:
                    self.attachment.journal.sending([nothing])
                empty = self.attachment.request_of([nothing], durable=False)
                reply = self._apply_one(empty, left)
            self.attachment.applied(
                [batch], wire.decode_replies(reply.replies), reply.incarnation, reply.stamps
            )
            numbers.settled(batch)

    def _apply_one(self, request: pb.ApplyRequest, left: float) -> pb.ApplyReply:
        return self.attachment.connection.call(
            SERVICE + "Apply", request, pb.ApplyReply, timeout=min(left, CALL)
        )

    def _fill(self, gap: Gap, batches: Sequence[Batch]) -> None:
        """The daemon lacks batches that were answered: it has lost them, so they are sent again. A gap that
        is the caller's own is told."""
        attachment, numbers = self.attachment, self._numbers
        kept = [batch.number for batch, _ in attachment.kept.after(gap.last)]
        expected = list(range(gap.last + 1, batches[0].number + numbers.shift))
        if not expected or kept[: len(expected)] != expected:
            raise Gap(gap.last - numbers.shift)
        attachment.detached(attachment.handle)

    def grant(self, count: int) -> range:
        reply = self._read("Grant", pb.GrantRequest(count=count), pb.GrantReply)
        return range(reply.first, reply.first + reply.count)

    def grant_contents(self, count: int) -> range:
        """None from a daemon that knows no such numbers."""
        reply = self._read("Grant", pb.GrantRequest(contents=count), pb.GrantReply)
        return range(reply.first_content, reply.first_content + reply.contents)

    def trusted_until(self) -> float:
        return 0.0 if self._holding is None else self._holding.until()

    def leave(self) -> None:
        """Stop without ending the session: whoever finds the journal goes on with it."""
        self._lifeline.stop()
        self.attachment.close()

    def detach(self) -> None:
        """Best effort where the daemon is away: the lease ends the session then."""
        if self.attachment.ended:
            return
        if self._holding is not None:
            self._holding.end()
        self._lifeline.stop()
        handle = self.attachment.handle
        self.attachment.close()
        try:
            self.attachment.connection.call(
                SERVICE + "Detach", pb.DetachRequest(session=handle), pb.DetachReply, timeout=_DETACH
            )
        except GravitonError:
            pass

    # --- reads ---------------------------------------------------------------------------------------

    def _read(self, method: str, request: Any, reply: Answer[M]) -> M:
        attachment = self.attachment

        def attempt(left: float) -> M:
            attachment.attach(left)
            handle = request.session = attachment.handle
            try:
                return attachment.connection.call(SERVICE + method, request, reply, timeout=min(left, CALL))
            except Detached as error:
                attachment.detached(handle)
                raise Unavailable(str(error)) from error

        return until_answered(attempt, self.timeout)

    def lookup(self, parent: Ino, name: bytes) -> Attr | None:
        request = pb.LookupRequest(parent=parent, name=name)
        return wire.decode_attr(self._read("Lookup", request, pb.AttrReply).attr)

    def resolve(self, path: Sequence[bytes], start: Ino | None = None) -> list[Attr]:
        request = pb.ResolveRequest(path=path, start=start or 0)
        return wire.decode_attrs(self._read("Resolve", request, pb.ResolveReply).attrs)

    def attr(self, ino: Ino) -> Attr:
        found = wire.decode_attr(self._read("GetAttr", pb.GetAttrRequest(ino=ino), pb.AttrReply).attr)
        if found is None:
            raise Internal("an inode was answered without attributes")
        return found

    def entries(self, parent: Ino, after: bytes | None, limit: int) -> list[Entry]:
        found: list[Entry] = []
        while True:
            request = pb.ListRequest(parent=parent, after=after or b"", limit=limit - len(found))
            reply = self._read("List", request, pb.ListReply)
            page = wire.decode_entries(reply.entries)
            found += page
            if not reply.more or not page or len(found) >= limit:
                return found
            after = page[-1].name

    def parent(self, ino: Ino) -> tuple[Ino, bytes] | None:
        reply = self._read("Parent", pb.ParentRequest(ino=ino), pb.ParentReply)
        return (Ino(reply.parent), reply.name) if reply.parent else None

    def readlink(self, ino: Ino) -> bytes:
        return self._read("ReadLink", pb.ReadLinkRequest(ino=ino), pb.ReadLinkReply).target

    def xattr(self, ino: Ino, name: bytes) -> bytes:
        request = pb.GetXattrRequest(ino=ino, name=name)
        return self._read("GetXattr", request, pb.GetXattrReply).value

    def xattrs(self, ino: Ino) -> list[tuple[bytes, bytes]]:
        reply = self._read("ListXattrs", pb.ListXattrsRequest(ino=ino), pb.ListXattrsReply)
        return wire.decode_pairs(reply.xattrs)

    def xattrs_of(self, inos: Sequence[Ino], prefix: bytes) -> list[tuple[Ino, bytes, bytes]]:
        if not inos:
            return []
        reply = self._read("XattrsOf", pb.XattrsOfRequest(inos=inos, prefix=prefix), pb.XattrsOfReply)
        return [(Ino(ino), name, value) for ino, name, value in wire.decode_triples(reply.xattrs)]

    def content(self, content: ContentId) -> ContentInfo:
        if not content:
            return ContentInfo(NO_CONTENT, ContentKind.FROZEN, 0, 0, None)
        reply = self._read("Content", pb.ContentRequest(content=content), pb.ContentReply)
        kind = _CONTENT_KINDS[reply.kind]
        return ContentInfo(ContentId(reply.id), kind, reply.length, reply.version, reply.digest or None)

    def extents(self, content: ContentId, first: int, last: int) -> list[RegionMap]:
        found: list[RegionMap] = []
        while content:
            request = pb.ExtentsRequest(content=content, first=first, last=last)
            reply = self._read("Extents", request, pb.ExtentsReply)
            found += wire.decode_regions(reply.regions)
            if reply.more_from <= first or reply.more_from > last:
                break
            first = reply.more_from
        self._regions.told(content, found)
        return found

    def introduce(self, blocks: Collection[BlockId]) -> bool:
        """Have the daemon tell these blocks again, if they are of files that were read lately: it, or the one
        before it, has forgotten that it did."""
        places = self._regions.of(blocks)
        for content, region in places:
            self.extents(content, region, region)
        return bool(places)

    def extents_of(self, contents: Sequence[ContentId]) -> dict[ContentId, tuple[Extent, ...]]:
        if not contents:
            return {}
        reply = self._read("ExtentsOf", pb.ExtentsOfRequest(contents=contents), pb.ExtentsOfReply)
        found = wire.decode_maps(reply.maps)
        for content, extents in found.items():
            self._regions.told(content, [RegionMap(0, extents)])
        return found

    def has_content(self, content: ContentId) -> bool:
        try:
            self.content(content)
        except (NotFound, Stale):
            return False
        return True

    def records(self, space: str, prefix: bytes = b"") -> list[tuple[bytes, bytes]]:
        request = pb.RecordsRequest(space=space, prefix=prefix)
        return wire.decode_pairs(self._read("Records", request, pb.RecordsReply).records)

    def blob(self, digest: bytes, length: int) -> BlobRef | None:
        request = pb.BlobRequest(digest=digest, length=length)
        return wire.decode_blob(self._read("Blob", request, pb.BlobReply).blob)

    def blobs(self, after: tuple[bytes, int] | None, limit: int) -> list[BlobRef]:
        found: list[BlobRef] = []
        while True:
            digest, length = after or (b"", 0)
            request = pb.BlobsRequest(after_digest=digest, after_length=length, limit=limit - len(found))
            reply = self._read("Blobs", request, pb.BlobsReply)
            page = wire.decode_blobs(reply.blobs)
            found += page
            if not reply.more or not page or len(found) >= limit:
                return found
            after = page[-1].digest, page[-1].length

    def usage(self) -> VolumeUsage:
        reply = self._read("Usage", pb.UsageRequest(), pb.UsageReply)
        return VolumeUsage(reply.logical_bytes, reply.inodes)

    def room(self, directory: Ino | None) -> Room | None:
        request = pb.UsageRequest(room=True, directory=directory or 0)
        reply = self._read("Usage", request, pb.UsageReply)
        if not reply.HasField("room"):
            return None
        room = reply.room
        return Room(
            room.used_bytes,
            room.free_bytes if room.HasField("free_bytes") else None,
            room.used_inodes,
            room.free_inodes if room.HasField("free_inodes") else None,
        )

    def space(self) -> Space:
        """Of the daemon's targets."""
        reply = self._read("Usage", pb.UsageRequest(), pb.UsageReply)
        return Space(reply.capacity, reply.free)

    def watch(self, since: int) -> Iterator[Change]:
        """Changes are told through the listener: there is nothing left to tell."""
        return iter(())
