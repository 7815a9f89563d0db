from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class UploadHeader(_message.Message):
    __slots__ = ("volume", "length", "digest")
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    volume: str
    length: int
    digest: bytes
    def __init__(self, volume: _Optional[str] = ..., length: _Optional[int] = ..., digest: _Optional[bytes] = ...) -> None: ...

class UploadRequest(_message.Message):
    __slots__ = ("header", "data", "end")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    header: UploadHeader
    data: bytes
    end: bool
    def __init__(self, header: _Optional[_Union[UploadHeader, _Mapping]] = ..., data: _Optional[bytes] = ..., end: _Optional[bool] = ...) -> None: ...

class UploadReply(_message.Message):
    __slots__ = ("id", "length", "new_bytes", "existed")
    ID_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    NEW_BYTES_FIELD_NUMBER: _ClassVar[int]
    EXISTED_FIELD_NUMBER: _ClassVar[int]
    id: str
    length: int
    new_bytes: int
    existed: bool
    def __init__(self, id: _Optional[str] = ..., length: _Optional[int] = ..., new_bytes: _Optional[int] = ..., existed: _Optional[bool] = ...) -> None: ...

class DownloadRequest(_message.Message):
    __slots__ = ("volume", "id", "offset", "length")
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    volume: str
    id: str
    offset: int
    length: int
    def __init__(self, volume: _Optional[str] = ..., id: _Optional[str] = ..., offset: _Optional[int] = ..., length: _Optional[int] = ...) -> None: ...

class DownloadReply(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class StatBlobRequest(_message.Message):
    __slots__ = ("volume", "id")
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    volume: str
    id: str
    def __init__(self, volume: _Optional[str] = ..., id: _Optional[str] = ...) -> None: ...

class BlobInfo(_message.Message):
    __slots__ = ("id", "length", "created_ns")
    ID_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    CREATED_NS_FIELD_NUMBER: _ClassVar[int]
    id: str
    length: int
    created_ns: int
    def __init__(self, id: _Optional[str] = ..., length: _Optional[int] = ..., created_ns: _Optional[int] = ...) -> None: ...

class ListBlobsRequest(_message.Message):
    __slots__ = ("volume", "after", "limit")
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    volume: str
    after: str
    limit: int
    def __init__(self, volume: _Optional[str] = ..., after: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class ListBlobsReply(_message.Message):
    __slots__ = ("blobs", "more")
    BLOBS_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    blobs: _containers.RepeatedCompositeFieldContainer[BlobInfo]
    more: bool
    def __init__(self, blobs: _Optional[_Iterable[_Union[BlobInfo, _Mapping]]] = ..., more: _Optional[bool] = ...) -> None: ...

class DeleteBlobRequest(_message.Message):
    __slots__ = ("volume", "id")
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    volume: str
    id: str
    def __init__(self, volume: _Optional[str] = ..., id: _Optional[str] = ...) -> None: ...

class DeleteBlobReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
