from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Claimant(_message.Message):
    __slots__ = ("router", "shard")
    ROUTER_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    router: bytes
    shard: str
    def __init__(self, router: _Optional[bytes] = ..., shard: _Optional[str] = ...) -> None: ...

class ClaimRequest(_message.Message):
    __slots__ = ("claimant", "create")
    CLAIMANT_FIELD_NUMBER: _ClassVar[int]
    CREATE_FIELD_NUMBER: _ClassVar[int]
    claimant: Claimant
    create: bool
    def __init__(self, claimant: _Optional[_Union[Claimant, _Mapping]] = ..., create: _Optional[bool] = ...) -> None: ...

class ClaimReply(_message.Message):
    __slots__ = ("store",)
    STORE_FIELD_NUMBER: _ClassVar[int]
    store: bytes
    def __init__(self, store: _Optional[bytes] = ...) -> None: ...

class StoreRequest(_message.Message):
    __slots__ = ("claimant", "key", "length", "data", "digest")
    CLAIMANT_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    claimant: Claimant
    key: str
    length: int
    data: bytes
    digest: bytes
    def __init__(self, claimant: _Optional[_Union[Claimant, _Mapping]] = ..., key: _Optional[str] = ..., length: _Optional[int] = ..., data: _Optional[bytes] = ..., digest: _Optional[bytes] = ...) -> None: ...

class StoreReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReadRequest(_message.Message):
    __slots__ = ("claimant", "key", "start", "length")
    CLAIMANT_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    claimant: Claimant
    key: str
    start: int
    length: int
    def __init__(self, claimant: _Optional[_Union[Claimant, _Mapping]] = ..., key: _Optional[str] = ..., start: _Optional[int] = ..., length: _Optional[int] = ...) -> None: ...

class ReadReply(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class HeadRequest(_message.Message):
    __slots__ = ("claimant", "key")
    CLAIMANT_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    claimant: Claimant
    key: str
    def __init__(self, claimant: _Optional[_Union[Claimant, _Mapping]] = ..., key: _Optional[str] = ...) -> None: ...

class HeadReply(_message.Message):
    __slots__ = ("length",)
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    length: int
    def __init__(self, length: _Optional[int] = ...) -> None: ...

class DeleteRequest(_message.Message):
    __slots__ = ("claimant", "key")
    CLAIMANT_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    claimant: Claimant
    key: str
    def __init__(self, claimant: _Optional[_Union[Claimant, _Mapping]] = ..., key: _Optional[str] = ...) -> None: ...

class DeleteReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class KeysRequest(_message.Message):
    __slots__ = ("claimant", "prefix")
    CLAIMANT_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    claimant: Claimant
    prefix: str
    def __init__(self, claimant: _Optional[_Union[Claimant, _Mapping]] = ..., prefix: _Optional[str] = ...) -> None: ...

class KeysReply(_message.Message):
    __slots__ = ("keys", "lengths")
    KEYS_FIELD_NUMBER: _ClassVar[int]
    LENGTHS_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedScalarFieldContainer[str]
    lengths: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, keys: _Optional[_Iterable[str]] = ..., lengths: _Optional[_Iterable[int]] = ...) -> None: ...

class SpaceRequest(_message.Message):
    __slots__ = ("claimant",)
    CLAIMANT_FIELD_NUMBER: _ClassVar[int]
    claimant: Claimant
    def __init__(self, claimant: _Optional[_Union[Claimant, _Mapping]] = ...) -> None: ...

class SpaceReply(_message.Message):
    __slots__ = ("capacity", "free")
    CAPACITY_FIELD_NUMBER: _ClassVar[int]
    FREE_FIELD_NUMBER: _ClassVar[int]
    capacity: int
    free: int
    def __init__(self, capacity: _Optional[int] = ..., free: _Optional[int] = ...) -> None: ...

class CheckRequest(_message.Message):
    __slots__ = ("claimant", "key", "length")
    CLAIMANT_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    claimant: Claimant
    key: str
    length: int
    def __init__(self, claimant: _Optional[_Union[Claimant, _Mapping]] = ..., key: _Optional[str] = ..., length: _Optional[int] = ...) -> None: ...

class CheckReply(_message.Message):
    __slots__ = ("fault",)
    FAULT_FIELD_NUMBER: _ClassVar[int]
    fault: str
    def __init__(self, fault: _Optional[str] = ...) -> None: ...
