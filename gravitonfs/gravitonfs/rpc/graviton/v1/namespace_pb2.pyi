from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AttachRequest(_message.Message):
    __slots__ = ("volume", "label", "read_only", "claims", "listens", "resume", "recalls", "process", "journals")
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    READ_ONLY_FIELD_NUMBER: _ClassVar[int]
    CLAIMS_FIELD_NUMBER: _ClassVar[int]
    LISTENS_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    RECALLS_FIELD_NUMBER: _ClassVar[int]
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    JOURNALS_FIELD_NUMBER: _ClassVar[int]
    volume: str
    label: str
    read_only: bool
    claims: bool
    listens: bool
    resume: bytes
    recalls: bool
    process: str
    journals: bool
    def __init__(self, volume: _Optional[str] = ..., label: _Optional[str] = ..., read_only: _Optional[bool] = ..., claims: _Optional[bool] = ..., listens: _Optional[bool] = ..., resume: _Optional[bytes] = ..., recalls: _Optional[bool] = ..., process: _Optional[str] = ..., journals: _Optional[bool] = ...) -> None: ...

class AttachReply(_message.Message):
    __slots__ = ("session", "number", "root", "format", "read_only", "incarnation", "last", "durable_through", "lease", "max_message", "fresh", "store")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    READ_ONLY_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    DURABLE_THROUGH_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    FRESH_FIELD_NUMBER: _ClassVar[int]
    STORE_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    number: int
    root: int
    format: bytes
    read_only: bool
    incarnation: int
    last: int
    durable_through: int
    lease: float
    max_message: int
    fresh: bool
    store: bytes
    def __init__(self, session: _Optional[bytes] = ..., number: _Optional[int] = ..., root: _Optional[int] = ..., format: _Optional[bytes] = ..., read_only: _Optional[bool] = ..., incarnation: _Optional[int] = ..., last: _Optional[int] = ..., durable_through: _Optional[int] = ..., lease: _Optional[float] = ..., max_message: _Optional[int] = ..., fresh: _Optional[bool] = ..., store: _Optional[bytes] = ...) -> None: ...

class DetachRequest(_message.Message):
    __slots__ = ("session",)
    SESSION_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    def __init__(self, session: _Optional[bytes] = ...) -> None: ...

class DetachReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class VolumeLease(_message.Message):
    __slots__ = ("number", "seconds")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    number: int
    seconds: float
    def __init__(self, number: _Optional[int] = ..., seconds: _Optional[float] = ...) -> None: ...

class Answers(_message.Message):
    __slots__ = ("released", "held")
    RELEASED_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    released: _containers.RepeatedScalarFieldContainer[int]
    held: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, released: _Optional[_Iterable[int]] = ..., held: _Optional[_Iterable[int]] = ...) -> None: ...

class ApplyRequest(_message.Message):
    __slots__ = ("session", "batches", "durable", "answers", "stamps")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    DURABLE_FIELD_NUMBER: _ClassVar[int]
    ANSWERS_FIELD_NUMBER: _ClassVar[int]
    STAMPS_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    batches: bytes
    durable: bool
    answers: Answers
    stamps: bytes
    def __init__(self, session: _Optional[bytes] = ..., batches: _Optional[bytes] = ..., durable: _Optional[bool] = ..., answers: _Optional[_Union[Answers, _Mapping]] = ..., stamps: _Optional[bytes] = ...) -> None: ...

class ApplyReply(_message.Message):
    __slots__ = ("replies", "incarnation", "asked", "stamps")
    REPLIES_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    ASKED_FIELD_NUMBER: _ClassVar[int]
    STAMPS_FIELD_NUMBER: _ClassVar[int]
    replies: bytes
    incarnation: int
    asked: _containers.RepeatedScalarFieldContainer[int]
    stamps: bytes
    def __init__(self, replies: _Optional[bytes] = ..., incarnation: _Optional[int] = ..., asked: _Optional[_Iterable[int]] = ..., stamps: _Optional[bytes] = ...) -> None: ...

class GrantRequest(_message.Message):
    __slots__ = ("session", "count", "contents")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    CONTENTS_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    count: int
    contents: int
    def __init__(self, session: _Optional[bytes] = ..., count: _Optional[int] = ..., contents: _Optional[int] = ...) -> None: ...

class GrantReply(_message.Message):
    __slots__ = ("first", "count", "first_content", "contents")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    FIRST_CONTENT_FIELD_NUMBER: _ClassVar[int]
    CONTENTS_FIELD_NUMBER: _ClassVar[int]
    first: int
    count: int
    first_content: int
    contents: int
    def __init__(self, first: _Optional[int] = ..., count: _Optional[int] = ..., first_content: _Optional[int] = ..., contents: _Optional[int] = ...) -> None: ...

class LookupRequest(_message.Message):
    __slots__ = ("session", "parent", "name")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    parent: int
    name: bytes
    def __init__(self, session: _Optional[bytes] = ..., parent: _Optional[int] = ..., name: _Optional[bytes] = ...) -> None: ...

class AttrReply(_message.Message):
    __slots__ = ("attr",)
    ATTR_FIELD_NUMBER: _ClassVar[int]
    attr: bytes
    def __init__(self, attr: _Optional[bytes] = ...) -> None: ...

class ResolveRequest(_message.Message):
    __slots__ = ("session", "path", "start")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    path: _containers.RepeatedScalarFieldContainer[bytes]
    start: int
    def __init__(self, session: _Optional[bytes] = ..., path: _Optional[_Iterable[bytes]] = ..., start: _Optional[int] = ...) -> None: ...

class ResolveReply(_message.Message):
    __slots__ = ("attrs",)
    ATTRS_FIELD_NUMBER: _ClassVar[int]
    attrs: bytes
    def __init__(self, attrs: _Optional[bytes] = ...) -> None: ...

class GetAttrRequest(_message.Message):
    __slots__ = ("session", "ino")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    INO_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    ino: int
    def __init__(self, session: _Optional[bytes] = ..., ino: _Optional[int] = ...) -> None: ...

class ListRequest(_message.Message):
    __slots__ = ("session", "parent", "after", "limit")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    parent: int
    after: bytes
    limit: int
    def __init__(self, session: _Optional[bytes] = ..., parent: _Optional[int] = ..., after: _Optional[bytes] = ..., limit: _Optional[int] = ...) -> None: ...

class ListReply(_message.Message):
    __slots__ = ("entries", "more")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    entries: bytes
    more: bool
    def __init__(self, entries: _Optional[bytes] = ..., more: _Optional[bool] = ...) -> None: ...

class ParentRequest(_message.Message):
    __slots__ = ("session", "ino")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    INO_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    ino: int
    def __init__(self, session: _Optional[bytes] = ..., ino: _Optional[int] = ...) -> None: ...

class ParentReply(_message.Message):
    __slots__ = ("parent", "name")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    parent: int
    name: bytes
    def __init__(self, parent: _Optional[int] = ..., name: _Optional[bytes] = ...) -> None: ...

class ReadLinkRequest(_message.Message):
    __slots__ = ("session", "ino")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    INO_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    ino: int
    def __init__(self, session: _Optional[bytes] = ..., ino: _Optional[int] = ...) -> None: ...

class ReadLinkReply(_message.Message):
    __slots__ = ("target",)
    TARGET_FIELD_NUMBER: _ClassVar[int]
    target: bytes
    def __init__(self, target: _Optional[bytes] = ...) -> None: ...

class GetXattrRequest(_message.Message):
    __slots__ = ("session", "ino", "name")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    INO_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    ino: int
    name: bytes
    def __init__(self, session: _Optional[bytes] = ..., ino: _Optional[int] = ..., name: _Optional[bytes] = ...) -> None: ...

class GetXattrReply(_message.Message):
    __slots__ = ("value",)
    VALUE_FIELD_NUMBER: _ClassVar[int]
    value: bytes
    def __init__(self, value: _Optional[bytes] = ...) -> None: ...

class ListXattrsRequest(_message.Message):
    __slots__ = ("session", "ino")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    INO_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    ino: int
    def __init__(self, session: _Optional[bytes] = ..., ino: _Optional[int] = ...) -> None: ...

class ListXattrsReply(_message.Message):
    __slots__ = ("xattrs",)
    XATTRS_FIELD_NUMBER: _ClassVar[int]
    xattrs: bytes
    def __init__(self, xattrs: _Optional[bytes] = ...) -> None: ...

class XattrsOfRequest(_message.Message):
    __slots__ = ("session", "inos", "prefix")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    INOS_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    inos: _containers.RepeatedScalarFieldContainer[int]
    prefix: bytes
    def __init__(self, session: _Optional[bytes] = ..., inos: _Optional[_Iterable[int]] = ..., prefix: _Optional[bytes] = ...) -> None: ...

class XattrsOfReply(_message.Message):
    __slots__ = ("xattrs",)
    XATTRS_FIELD_NUMBER: _ClassVar[int]
    xattrs: bytes
    def __init__(self, xattrs: _Optional[bytes] = ...) -> None: ...

class ContentRequest(_message.Message):
    __slots__ = ("session", "content")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    content: int
    def __init__(self, session: _Optional[bytes] = ..., content: _Optional[int] = ...) -> None: ...

class ContentReply(_message.Message):
    __slots__ = ("id", "kind", "length", "version", "digest")
    ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    id: int
    kind: int
    length: int
    version: int
    digest: bytes
    def __init__(self, id: _Optional[int] = ..., kind: _Optional[int] = ..., length: _Optional[int] = ..., version: _Optional[int] = ..., digest: _Optional[bytes] = ...) -> None: ...

class ExtentsRequest(_message.Message):
    __slots__ = ("session", "content", "first", "last")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    content: int
    first: int
    last: int
    def __init__(self, session: _Optional[bytes] = ..., content: _Optional[int] = ..., first: _Optional[int] = ..., last: _Optional[int] = ...) -> None: ...

class ExtentsReply(_message.Message):
    __slots__ = ("regions", "more_from")
    REGIONS_FIELD_NUMBER: _ClassVar[int]
    MORE_FROM_FIELD_NUMBER: _ClassVar[int]
    regions: bytes
    more_from: int
    def __init__(self, regions: _Optional[bytes] = ..., more_from: _Optional[int] = ...) -> None: ...

class ExtentsOfRequest(_message.Message):
    __slots__ = ("session", "contents")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    CONTENTS_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    contents: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, session: _Optional[bytes] = ..., contents: _Optional[_Iterable[int]] = ...) -> None: ...

class ExtentsOfReply(_message.Message):
    __slots__ = ("maps",)
    MAPS_FIELD_NUMBER: _ClassVar[int]
    maps: bytes
    def __init__(self, maps: _Optional[bytes] = ...) -> None: ...

class RecordsRequest(_message.Message):
    __slots__ = ("session", "space", "prefix")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    SPACE_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    space: str
    prefix: bytes
    def __init__(self, session: _Optional[bytes] = ..., space: _Optional[str] = ..., prefix: _Optional[bytes] = ...) -> None: ...

class RecordsReply(_message.Message):
    __slots__ = ("records",)
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    records: bytes
    def __init__(self, records: _Optional[bytes] = ...) -> None: ...

class BlobRequest(_message.Message):
    __slots__ = ("session", "digest", "length")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    digest: bytes
    length: int
    def __init__(self, session: _Optional[bytes] = ..., digest: _Optional[bytes] = ..., length: _Optional[int] = ...) -> None: ...

class BlobReply(_message.Message):
    __slots__ = ("blob",)
    BLOB_FIELD_NUMBER: _ClassVar[int]
    blob: bytes
    def __init__(self, blob: _Optional[bytes] = ...) -> None: ...

class BlobsRequest(_message.Message):
    __slots__ = ("session", "after_digest", "after_length", "limit")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    AFTER_DIGEST_FIELD_NUMBER: _ClassVar[int]
    AFTER_LENGTH_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    after_digest: bytes
    after_length: int
    limit: int
    def __init__(self, session: _Optional[bytes] = ..., after_digest: _Optional[bytes] = ..., after_length: _Optional[int] = ..., limit: _Optional[int] = ...) -> None: ...

class BlobsReply(_message.Message):
    __slots__ = ("blobs", "more")
    BLOBS_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    blobs: bytes
    more: bool
    def __init__(self, blobs: _Optional[bytes] = ..., more: _Optional[bool] = ...) -> None: ...

class UsageRequest(_message.Message):
    __slots__ = ("session", "room", "directory")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    ROOM_FIELD_NUMBER: _ClassVar[int]
    DIRECTORY_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    room: bool
    directory: int
    def __init__(self, session: _Optional[bytes] = ..., room: _Optional[bool] = ..., directory: _Optional[int] = ...) -> None: ...

class UsageReply(_message.Message):
    __slots__ = ("logical_bytes", "inodes", "capacity", "free", "room")
    LOGICAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    INODES_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_FIELD_NUMBER: _ClassVar[int]
    FREE_FIELD_NUMBER: _ClassVar[int]
    ROOM_FIELD_NUMBER: _ClassVar[int]
    logical_bytes: int
    inodes: int
    capacity: int
    free: int
    room: Room
    def __init__(self, logical_bytes: _Optional[int] = ..., inodes: _Optional[int] = ..., capacity: _Optional[int] = ..., free: _Optional[int] = ..., room: _Optional[_Union[Room, _Mapping]] = ...) -> None: ...

class Room(_message.Message):
    __slots__ = ("used_bytes", "free_bytes", "used_inodes", "free_inodes")
    USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    FREE_BYTES_FIELD_NUMBER: _ClassVar[int]
    USED_INODES_FIELD_NUMBER: _ClassVar[int]
    FREE_INODES_FIELD_NUMBER: _ClassVar[int]
    used_bytes: int
    free_bytes: int
    used_inodes: int
    free_inodes: int
    def __init__(self, used_bytes: _Optional[int] = ..., free_bytes: _Optional[int] = ..., used_inodes: _Optional[int] = ..., free_inodes: _Optional[int] = ...) -> None: ...

class HeartbeatRequest(_message.Message):
    __slots__ = ("session", "seen", "answers", "ask_lease", "let_go")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    SEEN_FIELD_NUMBER: _ClassVar[int]
    ANSWERS_FIELD_NUMBER: _ClassVar[int]
    ASK_LEASE_FIELD_NUMBER: _ClassVar[int]
    LET_GO_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    seen: int
    answers: Answers
    ask_lease: bool
    let_go: int
    def __init__(self, session: _Optional[bytes] = ..., seen: _Optional[int] = ..., answers: _Optional[_Union[Answers, _Mapping]] = ..., ask_lease: _Optional[bool] = ..., let_go: _Optional[int] = ...) -> None: ...

class HeartbeatReply(_message.Message):
    __slots__ = ("incarnation", "durable_through", "asked", "lease", "volume_lease")
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    DURABLE_THROUGH_FIELD_NUMBER: _ClassVar[int]
    ASKED_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    VOLUME_LEASE_FIELD_NUMBER: _ClassVar[int]
    incarnation: int
    durable_through: int
    asked: _containers.RepeatedScalarFieldContainer[int]
    lease: float
    volume_lease: VolumeLease
    def __init__(self, incarnation: _Optional[int] = ..., durable_through: _Optional[int] = ..., asked: _Optional[_Iterable[int]] = ..., lease: _Optional[float] = ..., volume_lease: _Optional[_Union[VolumeLease, _Mapping]] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("session", "after")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    after: int
    def __init__(self, session: _Optional[bytes] = ..., after: _Optional[int] = ...) -> None: ...

class WatchReply(_message.Message):
    __slots__ = ("sequence", "changes", "lost", "asked", "recalled")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    ASKED_FIELD_NUMBER: _ClassVar[int]
    RECALLED_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    changes: bytes
    lost: bool
    asked: _containers.RepeatedScalarFieldContainer[int]
    recalled: int
    def __init__(self, sequence: _Optional[int] = ..., changes: _Optional[bytes] = ..., lost: _Optional[bool] = ..., asked: _Optional[_Iterable[int]] = ..., recalled: _Optional[int] = ...) -> None: ...
