from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class MissingRequest(_message.Message):
    __slots__ = ("volume", "ids")
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    volume: str
    ids: bytes
    def __init__(self, volume: _Optional[str] = ..., ids: _Optional[bytes] = ...) -> None: ...

class MissingReply(_message.Message):
    __slots__ = ("packs",)
    PACKS_FIELD_NUMBER: _ClassVar[int]
    packs: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, packs: _Optional[_Iterable[int]] = ...) -> None: ...

class Block(_message.Message):
    __slots__ = ("id", "codec", "plain_length", "payload")
    ID_FIELD_NUMBER: _ClassVar[int]
    CODEC_FIELD_NUMBER: _ClassVar[int]
    PLAIN_LENGTH_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    id: bytes
    codec: int
    plain_length: int
    payload: bytes
    def __init__(self, id: _Optional[bytes] = ..., codec: _Optional[int] = ..., plain_length: _Optional[int] = ..., payload: _Optional[bytes] = ...) -> None: ...

class PutRequest(_message.Message):
    __slots__ = ("volume", "blocks")
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    volume: str
    blocks: _containers.RepeatedCompositeFieldContainer[Block]
    def __init__(self, volume: _Optional[str] = ..., blocks: _Optional[_Iterable[_Union[Block, _Mapping]]] = ...) -> None: ...

class PutReply(_message.Message):
    __slots__ = ("packs", "new_blocks", "new_bytes")
    PACKS_FIELD_NUMBER: _ClassVar[int]
    NEW_BLOCKS_FIELD_NUMBER: _ClassVar[int]
    NEW_BYTES_FIELD_NUMBER: _ClassVar[int]
    packs: _containers.RepeatedScalarFieldContainer[int]
    new_blocks: int
    new_bytes: int
    def __init__(self, packs: _Optional[_Iterable[int]] = ..., new_blocks: _Optional[int] = ..., new_bytes: _Optional[int] = ...) -> None: ...

class GetRequest(_message.Message):
    __slots__ = ("volume", "ids", "packs", "room", "stored")
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    PACKS_FIELD_NUMBER: _ClassVar[int]
    ROOM_FIELD_NUMBER: _ClassVar[int]
    STORED_FIELD_NUMBER: _ClassVar[int]
    volume: str
    ids: bytes
    packs: _containers.RepeatedScalarFieldContainer[int]
    room: int
    stored: bool
    def __init__(self, volume: _Optional[str] = ..., ids: _Optional[bytes] = ..., packs: _Optional[_Iterable[int]] = ..., room: _Optional[int] = ..., stored: _Optional[bool] = ...) -> None: ...

class GetReply(_message.Message):
    __slots__ = ("blocks", "damaged")
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    DAMAGED_FIELD_NUMBER: _ClassVar[int]
    blocks: _containers.RepeatedCompositeFieldContainer[Block]
    damaged: str
    def __init__(self, blocks: _Optional[_Iterable[_Union[Block, _Mapping]]] = ..., damaged: _Optional[str] = ...) -> None: ...

class NearRequest(_message.Message):
    __slots__ = ("volume", "id", "pack", "span")
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    PACK_FIELD_NUMBER: _ClassVar[int]
    SPAN_FIELD_NUMBER: _ClassVar[int]
    volume: str
    id: bytes
    pack: int
    span: int
    def __init__(self, volume: _Optional[str] = ..., id: _Optional[bytes] = ..., pack: _Optional[int] = ..., span: _Optional[int] = ...) -> None: ...

class SyncRequest(_message.Message):
    __slots__ = ("volume", "packs")
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    PACKS_FIELD_NUMBER: _ClassVar[int]
    volume: str
    packs: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, volume: _Optional[str] = ..., packs: _Optional[_Iterable[int]] = ...) -> None: ...

class SyncReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ForgetRequest(_message.Message):
    __slots__ = ("volume", "packs")
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    PACKS_FIELD_NUMBER: _ClassVar[int]
    volume: str
    packs: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, volume: _Optional[str] = ..., packs: _Optional[_Iterable[int]] = ...) -> None: ...

class ForgetReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StoredBytesRequest(_message.Message):
    __slots__ = ("volume", "ids")
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    volume: str
    ids: bytes
    def __init__(self, volume: _Optional[str] = ..., ids: _Optional[bytes] = ...) -> None: ...

class StoredBytesReply(_message.Message):
    __slots__ = ("bytes",)
    BYTES_FIELD_NUMBER: _ClassVar[int]
    bytes: int
    def __init__(self, bytes: _Optional[int] = ...) -> None: ...
