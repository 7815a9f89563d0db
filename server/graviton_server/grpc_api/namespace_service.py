"""NamespaceService: the ``Namespace`` port of a session, over gRPC."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Protocol

from graviton_server.grpc_api.backend import Backend
from graviton_server.grpc_api.block_service import gone
from graviton_server.grpc_api.calls import Call
from graviton_server.grpc_api.reach import Reach, Stamps
from graviton_server.grpc_api.remote_session import RemoteSession
from graviton_server.grpc_api.session_table import SessionTable
from graviton_server.grpc_api.settings import GrpcSettings
from graviton_server.grpc_api.vetting import Sender, Vet, check_space, named_in
from gravitonfs.core.extents import EXTENT_SIZE, Extent
from gravitonfs.core.ids import NO_CONTENT, ContentId, Ino
from gravitonfs.errors import Detached, Fenced, Invalid, MissingBlocks, NoAttribute, Stale
from gravitonfs.ports import wire
from gravitonfs.ports.namespace import EXTENTS_OF_MAX, Namespace
from gravitonfs.ports.ops import Batch, Reply
from gravitonfs.ports.store import NO_LEASE
from gravitonfs.ports.wire import STAMP
from gravitonfs.rpc.graviton.v1 import namespace_pb2 as pb

BATCHES_MAX: Final = 1024
GRANT_MAX: Final = 1 << 24
PAGE_MAX: Final = 4096
PATH_MAX: Final = 4096
INOS_MAX: Final = 1000
REGIONS_MAX: Final = 1024
_REGIONS_STEP: Final = 64
_EXTENT: Final = EXTENT_SIZE + 16


class Request(Protocol):
    """Any message with a session."""

    session: bytes


class NamespaceService:
    def __init__(
        self,
        backend: Backend,
        table: SessionTable,
        vet: Vet,
        settings: GrpcSettings,
        reach: Reach,
        stamps: Stamps,
    ) -> None:
        self._backend = backend
        self._reach = reach
        self._stamps = stamps
        self._table = table
        self._vet = vet
        self._settings = settings

    # --- sessions ------------------------------------------------------------------------------------

    def attach(self, request: pb.AttachRequest, call: Call) -> pb.AttachReply:
        volume = request.volume or "main"
        call.may_read(volume)
        if not request.read_only:
            call.may_write(volume)
        if self._backend.shard is not None:
            self._backend.shard.refuse_files()
        session, known = self._table.attach(
            call,
            volume,
            request.label,
            read_only=request.read_only,
            claims=request.claims,
            listens=request.listens,
            resume=request.resume,
            recalls=request.recalls,
            process=request.process,
            journals=request.journals,
        )
        namespace = session.namespace
        state = self._backend.sessions.state_of(session.number)
        return pb.AttachReply(
            session=session.handle.pack(),
            number=session.number,
            root=namespace.root,
            format=namespace.format.to_json(),
            read_only=namespace.read_only,
            incarnation=self._backend.sessions.incarnation,
            last=state.last,
            durable_through=state.durable_through,
            lease=self._table.lease,
            max_message=self._settings.max_message_size,
            fresh=not known,
            store=self._backend.store_uuid,
        )

    def detach(self, request: pb.DetachRequest, call: Call) -> pb.DetachReply:
        self._table.detach(request.session)
        return pb.DetachReply()

    def heartbeat(self, request: pb.HeartbeatRequest, call: Call) -> pb.HeartbeatReply:
        session = self._table.find(call, request.session)
        session.seen(request.seen)
        try:
            self._table.answer(session, request.answers.released, request.answers.held)
            if request.let_go:
                self._table.let_go(session, request.let_go)
            lease = self._table.ask_lease(session) if request.ask_lease else NO_LEASE
            state = self._backend.sessions.state_of(session.number)
        except Fenced as error:
            self._table.gone(session)
            raise Detached(str(error)) from error
        reply = pb.HeartbeatReply(
            incarnation=self._backend.sessions.incarnation,
            durable_through=state.durable_through,
            asked=session.asked(),
            lease=self._table.lease,
        )
        if lease.number:
            reply.volume_lease.number, reply.volume_lease.seconds = lease
        return reply

    def watch(self, request: pb.WatchRequest, call: Call) -> Iterator[pb.WatchReply]:
        session = self._table.find(call, request.session)
        yield pb.WatchReply(sequence=request.after)  # so that the client knows that it listens
        for news in session.watch(request.after):
            if not call.active:
                return
            if news is not None:
                yield pb.WatchReply(
                    sequence=news.sequence,
                    changes=wire.encode(news.changes) if news.changes else b"",
                    lost=news.lost,
                    asked=news.asked,
                    recalled=self._table.recalled(session) if news.recalled else 0,
                )

    # --- changes -------------------------------------------------------------------------------------

    def apply(self, request: pb.ApplyRequest, call: Call) -> pb.ApplyReply:
        session = self._table.find(call, request.session)
        namespace = session.namespace
        if not namespace.read_only:
            call.may_write(namespace.volume)
        if request.HasField("answers"):
            self._table.answer(session, request.answers.released, request.answers.held)
        batches = wire.decode_batches(request.batches) if request.batches else []
        if len(batches) > BATCHES_MAX:
            raise Invalid(f"one call takes at most {BATCHES_MAX} batches")
        try:
            sender = Sender(session.number, namespace.volume, _by_number(batches, request.stamps))
            replies = self._applied(namespace, batches, sender, durable=request.durable)
        except Fenced as error:
            self._table.gone(session)
            raise Detached(str(error)) from error
        return pb.ApplyReply(
            replies=wire.encode(replies),
            incarnation=self._backend.sessions.incarnation,
            asked=session.asked(),
            stamps=self._stamped(session.number, batches),
        )

    def _stamped(self, session: int, batches: Sequence[Batch]) -> bytes:
        stamps = b"".join(self._stamps.of(session, batch, named_in(batch)) for batch in batches)
        return stamps if any(stamps) else b""

    def _applied(
        self, namespace: Namespace, batches: Sequence[Batch], sender: Sender, *, durable: bool
    ) -> list[Reply]:
        last = self._backend.sessions.state_of(namespace.session).last
        fresh = [batch for batch in batches if batch.number > last]
        repeats = [batch for batch in batches if batch.number <= last]
        try:
            vetted = self._vet(fresh, sender)
            if packs := {pack for batch in vetted for pack in batch.packs}:
                # What a client's batch names is durable first: else it would have to keep the bytes.
                self._backend.blocks.sync(list(packs))
            return namespace.apply([*repeats, *vetted], durable=durable)
        except MissingBlocks as refusal:
            self._forget(refusal.packs)
            raise

    def _forget(self, packs: Sequence[int]) -> None:
        """Those that are really gone: what a client says of a pack is not believed."""
        self._backend.blocks.forget_packs(gone(self._backend.packs, packs))

    def grant(self, request: pb.GrantRequest, call: Call) -> pb.GrantReply:
        session = self._table.find(call, request.session)
        if not 1 <= request.count + request.contents <= GRANT_MAX or (request.count and request.contents):
            raise Invalid(f"1 to {GRANT_MAX} inode numbers, or content ids, can be granted at a time")
        if request.contents:
            granted = session.namespace.grant_contents(request.contents)
            return pb.GrantReply(first_content=granted.start, contents=len(granted))
        granted = session.namespace.grant(request.count)
        return pb.GrantReply(first=granted.start, count=len(granted))

    # --- reads ---------------------------------------------------------------------------------------

    def lookup(self, request: pb.LookupRequest, call: Call) -> pb.AttrReply:
        found = self._of(request, call).lookup(Ino(request.parent), request.name)
        return pb.AttrReply(attr=b"" if found is None else wire.encode(found))

    def resolve(self, request: pb.ResolveRequest, call: Call) -> pb.ResolveReply:
        namespace = self._of(request, call)
        if len(request.path) > PATH_MAX:
            raise Invalid(f"a path has at most {PATH_MAX} names")
        start = Ino(request.start) if request.start else None
        return pb.ResolveReply(attrs=wire.encode(namespace.resolve(request.path, start)))

    def get_attr(self, request: pb.GetAttrRequest, call: Call) -> pb.AttrReply:
        return pb.AttrReply(attr=wire.encode(self._of(request, call).attr(Ino(request.ino))))

    def list(self, request: pb.ListRequest, call: Call) -> pb.ListReply:
        namespace = self._of(request, call)
        limit = min(request.limit or PAGE_MAX, PAGE_MAX)
        entries = namespace.entries(Ino(request.parent), request.after or None, limit)
        more = len(entries) == limit and limit < request.limit
        return pb.ListReply(entries=wire.encode(entries), more=more)

    def parent(self, request: pb.ParentRequest, call: Call) -> pb.ParentReply:
        namespace = self._of(request, call)
        namespace.attr(Ino(request.ino))
        found = namespace.parent(Ino(request.ino))
        return pb.ParentReply() if found is None else pb.ParentReply(parent=found[0], name=found[1])

    def read_link(self, request: pb.ReadLinkRequest, call: Call) -> pb.ReadLinkReply:
        return pb.ReadLinkReply(target=self._of(request, call).readlink(Ino(request.ino)))

    def get_xattr(self, request: pb.GetXattrRequest, call: Call) -> pb.GetXattrReply:
        namespace = self._of(request, call)
        if not _has(namespace, request.ino):
            raise NoAttribute(f"inode {request.ino} does not exist any more")
        return pb.GetXattrReply(value=namespace.xattr(Ino(request.ino), request.name))

    def list_xattrs(self, request: pb.ListXattrsRequest, call: Call) -> pb.ListXattrsReply:
        namespace = self._of(request, call)
        found = namespace.xattrs(Ino(request.ino)) if _has(namespace, request.ino) else []
        return pb.ListXattrsReply(xattrs=wire.encode(found))

    def xattrs_of(self, request: pb.XattrsOfRequest, call: Call) -> pb.XattrsOfReply:
        namespace = self._of(request, call)
        if len(request.inos) > INOS_MAX:
            raise Invalid(f"one call asks for at most {INOS_MAX} inodes")
        found = namespace.xattrs_of([Ino(ino) for ino in request.inos], request.prefix)
        return pb.XattrsOfReply(xattrs=wire.encode(found))

    def content(self, request: pb.ContentRequest, call: Call) -> pb.ContentReply:
        namespace = self._of(request, call)
        content = self._readable(namespace, request.content)
        info = namespace.content(content)
        return pb.ContentReply(
            id=info.id, kind=info.kind, length=info.length, version=info.version, digest=info.digest or b""
        )

    def extents(self, request: pb.ExtentsRequest, call: Call) -> pb.ExtentsReply:
        """As many regions as fit into one answer."""
        namespace = self._of(request, call)
        content = self._readable(namespace, request.content)
        first, last = request.first, request.last
        if last - first >= REGIONS_MAX:
            last = first + REGIONS_MAX - 1
        regions: list[object] = []
        size = 0
        while first <= last and size < self._settings.reply_limit // 2:
            step = min(first + _REGIONS_STEP - 1, last)
            for region in namespace.extents(content, first, step):
                regions.append(region)
                size += len(region.extents) * _EXTENT
                self._reach.learn(namespace.volume, (extent.block for extent in region.extents))
            first = step + 1
        more = first if first <= request.last else 0
        return pb.ExtentsReply(regions=wire.encode(regions), more_from=more)

    def extents_of(self, request: pb.ExtentsOfRequest, call: Call) -> pb.ExtentsOfReply:
        namespace = self._of(request, call)
        if len(request.contents) > EXTENTS_OF_MAX:
            raise Invalid(f"one call asks for at most {EXTENTS_OF_MAX} contents")
        maps: list[tuple[ContentId, Sequence[Extent]]] = []
        size = 0
        for content, extents in namespace.extents_of([ContentId(n) for n in request.contents]).items():
            size += len(extents) * _EXTENT
            if size > self._settings.reply_limit // 2:
                break
            maps.append((content, extents))
            self._reach.learn(namespace.volume, (extent.block for extent in extents))
        return pb.ExtentsOfReply(maps=wire.encode(maps))

    def records(self, request: pb.RecordsRequest, call: Call) -> pb.RecordsReply:
        check_space(request.space)
        found = self._of(request, call).records(request.space, request.prefix)
        return pb.RecordsReply(records=wire.encode(found))

    def blob(self, request: pb.BlobRequest, call: Call) -> pb.BlobReply:
        found = self._of(request, call).blob(request.digest, request.length)
        return pb.BlobReply(blob=b"" if found is None else wire.encode(found))

    def blobs(self, request: pb.BlobsRequest, call: Call) -> pb.BlobsReply:
        namespace = self._of(request, call)
        after = (request.after_digest, request.after_length) if request.after_digest else None
        limit = min(request.limit or PAGE_MAX, PAGE_MAX)
        found = namespace.blobs(after, limit)
        return pb.BlobsReply(blobs=wire.encode(found), more=len(found) == limit and limit < request.limit)

    def usage(self, request: pb.UsageRequest, call: Call) -> pb.UsageReply:
        namespace = self._of(request, call)
        usage = namespace.usage()
        space = self._backend.space()
        room = namespace.room(Ino(request.directory) or None) if request.room else None
        return pb.UsageReply(
            logical_bytes=usage.logical_bytes,
            inodes=usage.inodes,
            capacity=space.capacity,
            free=space.free,
            room=None if room is None else pb.Room(**room._asdict()),
        )

    def _of(self, request: Request, call: Call) -> Namespace:
        session: RemoteSession = self._table.find(call, request.session)
        call.may_read(session.namespace.volume)
        return session.namespace

    def _readable(self, namespace: Namespace, content: int) -> ContentId:
        """Contents have small numbers: those of other volumes are not told."""
        if content == NO_CONTENT or len(self._reach.volumes()) == 1:
            return ContentId(content)
        if not namespace.has_content(ContentId(content)):
            raise Stale(f"content {content} does not exist any more")
        return ContentId(content)


def _by_number(batches: Sequence[Batch], stamps: bytes) -> dict[int, bytes]:
    if not stamps:
        return {}
    if len(stamps) != STAMP * len(batches):
        raise Invalid(f"{STAMP} bytes of stamps for each batch are expected, or none at all")
    return {batch.number: stamps[at * STAMP : (at + 1) * STAMP] for at, batch in enumerate(batches)}


def _has(namespace: Namespace, ino: int) -> bool:
    """In this volume: look-ups by number alone would answer for others too."""
    try:
        namespace.attr(Ino(ino))
    except Stale:
        return False
    return True
