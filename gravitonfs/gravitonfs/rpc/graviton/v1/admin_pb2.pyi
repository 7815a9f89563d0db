from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WhoAmIRequest(_message.Message):
    __slots__ = ("volume",)
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    volume: str
    def __init__(self, volume: _Optional[str] = ...) -> None: ...

class WhoAmIReply(_message.Message):
    __slots__ = ("name", "judged", "read", "write")
    NAME_FIELD_NUMBER: _ClassVar[int]
    JUDGED_FIELD_NUMBER: _ClassVar[int]
    READ_FIELD_NUMBER: _ClassVar[int]
    WRITE_FIELD_NUMBER: _ClassVar[int]
    name: str
    judged: bool
    read: bool
    write: bool
    def __init__(self, name: _Optional[str] = ..., judged: _Optional[bool] = ..., read: _Optional[bool] = ..., write: _Optional[bool] = ...) -> None: ...

class Session(_message.Message):
    __slots__ = ("number", "volume", "label", "read_only", "remote", "attached", "last_batch", "idle_seconds", "principal", "holds")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    READ_ONLY_FIELD_NUMBER: _ClassVar[int]
    REMOTE_FIELD_NUMBER: _ClassVar[int]
    ATTACHED_FIELD_NUMBER: _ClassVar[int]
    LAST_BATCH_FIELD_NUMBER: _ClassVar[int]
    IDLE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    HOLDS_FIELD_NUMBER: _ClassVar[int]
    number: int
    volume: str
    label: str
    read_only: bool
    remote: bool
    attached: bool
    last_batch: int
    idle_seconds: float
    principal: str
    holds: bool
    def __init__(self, number: _Optional[int] = ..., volume: _Optional[str] = ..., label: _Optional[str] = ..., read_only: _Optional[bool] = ..., remote: _Optional[bool] = ..., attached: _Optional[bool] = ..., last_batch: _Optional[int] = ..., idle_seconds: _Optional[float] = ..., principal: _Optional[str] = ..., holds: _Optional[bool] = ...) -> None: ...

class ListSessionsRequest(_message.Message):
    __slots__ = ("volume",)
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    volume: str
    def __init__(self, volume: _Optional[str] = ...) -> None: ...

class ListSessionsReply(_message.Message):
    __slots__ = ("sessions",)
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    sessions: _containers.RepeatedCompositeFieldContainer[Session]
    def __init__(self, sessions: _Optional[_Iterable[_Union[Session, _Mapping]]] = ...) -> None: ...

class EvictSessionRequest(_message.Message):
    __slots__ = ("number",)
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    number: int
    def __init__(self, number: _Optional[int] = ...) -> None: ...

class EvictSessionReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Volume(_message.Message):
    __slots__ = ("name", "root", "logical_bytes", "inodes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    LOGICAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    INODES_FIELD_NUMBER: _ClassVar[int]
    name: str
    root: int
    logical_bytes: int
    inodes: int
    def __init__(self, name: _Optional[str] = ..., root: _Optional[int] = ..., logical_bytes: _Optional[int] = ..., inodes: _Optional[int] = ...) -> None: ...

class ListVolumesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListVolumesReply(_message.Message):
    __slots__ = ("volumes",)
    VOLUMES_FIELD_NUMBER: _ClassVar[int]
    volumes: _containers.RepeatedCompositeFieldContainer[Volume]
    def __init__(self, volumes: _Optional[_Iterable[_Union[Volume, _Mapping]]] = ...) -> None: ...

class CreateVolumeRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class DeleteVolumeRequest(_message.Message):
    __slots__ = ("name", "force", "evict")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    EVICT_FIELD_NUMBER: _ClassVar[int]
    name: str
    force: bool
    evict: bool
    def __init__(self, name: _Optional[str] = ..., force: _Optional[bool] = ..., evict: _Optional[bool] = ...) -> None: ...

class DeleteVolumeReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Snapshot(_message.Message):
    __slots__ = ("name", "created_ns", "logical_bytes", "inodes", "scheduled")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CREATED_NS_FIELD_NUMBER: _ClassVar[int]
    LOGICAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    INODES_FIELD_NUMBER: _ClassVar[int]
    SCHEDULED_FIELD_NUMBER: _ClassVar[int]
    name: str
    created_ns: int
    logical_bytes: int
    inodes: int
    scheduled: bool
    def __init__(self, name: _Optional[str] = ..., created_ns: _Optional[int] = ..., logical_bytes: _Optional[int] = ..., inodes: _Optional[int] = ..., scheduled: _Optional[bool] = ...) -> None: ...

class CreateSnapshotRequest(_message.Message):
    __slots__ = ("volume", "name")
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    volume: str
    name: str
    def __init__(self, volume: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class ListSnapshotsRequest(_message.Message):
    __slots__ = ("volume",)
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    volume: str
    def __init__(self, volume: _Optional[str] = ...) -> None: ...

class ListSnapshotsReply(_message.Message):
    __slots__ = ("snapshots",)
    SNAPSHOTS_FIELD_NUMBER: _ClassVar[int]
    snapshots: _containers.RepeatedCompositeFieldContainer[Snapshot]
    def __init__(self, snapshots: _Optional[_Iterable[_Union[Snapshot, _Mapping]]] = ...) -> None: ...

class DeleteSnapshotRequest(_message.Message):
    __slots__ = ("volume", "name")
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    volume: str
    name: str
    def __init__(self, volume: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class DeleteSnapshotReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Quota(_message.Message):
    __slots__ = ("path", "max_bytes", "max_inodes", "bytes", "inodes", "counting")
    PATH_FIELD_NUMBER: _ClassVar[int]
    MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_INODES_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    INODES_FIELD_NUMBER: _ClassVar[int]
    COUNTING_FIELD_NUMBER: _ClassVar[int]
    path: bytes
    max_bytes: int
    max_inodes: int
    bytes: int
    inodes: int
    counting: bool
    def __init__(self, path: _Optional[bytes] = ..., max_bytes: _Optional[int] = ..., max_inodes: _Optional[int] = ..., bytes: _Optional[int] = ..., inodes: _Optional[int] = ..., counting: _Optional[bool] = ...) -> None: ...

class ListQuotasRequest(_message.Message):
    __slots__ = ("volume",)
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    volume: str
    def __init__(self, volume: _Optional[str] = ...) -> None: ...

class ListQuotasReply(_message.Message):
    __slots__ = ("quotas",)
    QUOTAS_FIELD_NUMBER: _ClassVar[int]
    quotas: _containers.RepeatedCompositeFieldContainer[Quota]
    def __init__(self, quotas: _Optional[_Iterable[_Union[Quota, _Mapping]]] = ...) -> None: ...

class SetQuotaRequest(_message.Message):
    __slots__ = ("volume", "path", "max_bytes", "max_inodes")
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_INODES_FIELD_NUMBER: _ClassVar[int]
    volume: str
    path: bytes
    max_bytes: int
    max_inodes: int
    def __init__(self, volume: _Optional[str] = ..., path: _Optional[bytes] = ..., max_bytes: _Optional[int] = ..., max_inodes: _Optional[int] = ...) -> None: ...

class DeleteQuotaRequest(_message.Message):
    __slots__ = ("volume", "path")
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    volume: str
    path: bytes
    def __init__(self, volume: _Optional[str] = ..., path: _Optional[bytes] = ...) -> None: ...

class DeleteQuotaReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CheckQuotasRequest(_message.Message):
    __slots__ = ("volume", "path", "repair")
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    REPAIR_FIELD_NUMBER: _ClassVar[int]
    volume: str
    path: bytes
    repair: bool
    def __init__(self, volume: _Optional[str] = ..., path: _Optional[bytes] = ..., repair: _Optional[bool] = ...) -> None: ...

class CheckedQuota(_message.Message):
    __slots__ = ("quota", "bytes", "inodes", "repaired")
    QUOTA_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    INODES_FIELD_NUMBER: _ClassVar[int]
    REPAIRED_FIELD_NUMBER: _ClassVar[int]
    quota: Quota
    bytes: int
    inodes: int
    repaired: bool
    def __init__(self, quota: _Optional[_Union[Quota, _Mapping]] = ..., bytes: _Optional[int] = ..., inodes: _Optional[int] = ..., repaired: _Optional[bool] = ...) -> None: ...

class CheckQuotasReply(_message.Message):
    __slots__ = ("quotas",)
    QUOTAS_FIELD_NUMBER: _ClassVar[int]
    quotas: _containers.RepeatedCompositeFieldContainer[CheckedQuota]
    def __init__(self, quotas: _Optional[_Iterable[_Union[CheckedQuota, _Mapping]]] = ...) -> None: ...

class Target(_message.Message):
    __slots__ = ("name", "kind", "zone", "weight", "capacity", "copies", "zones", "state", "location", "packs", "bytes", "missing", "bad", "moving", "leaving", "free", "in_use", "trouble")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    ZONE_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_FIELD_NUMBER: _ClassVar[int]
    COPIES_FIELD_NUMBER: _ClassVar[int]
    ZONES_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    LOCATION_FIELD_NUMBER: _ClassVar[int]
    PACKS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    BAD_FIELD_NUMBER: _ClassVar[int]
    MOVING_FIELD_NUMBER: _ClassVar[int]
    LEAVING_FIELD_NUMBER: _ClassVar[int]
    FREE_FIELD_NUMBER: _ClassVar[int]
    IN_USE_FIELD_NUMBER: _ClassVar[int]
    TROUBLE_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: str
    zone: str
    weight: float
    capacity: int
    copies: int
    zones: int
    state: str
    location: str
    packs: int
    bytes: int
    missing: int
    bad: int
    moving: int
    leaving: int
    free: int
    in_use: bool
    trouble: str
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[str] = ..., zone: _Optional[str] = ..., weight: _Optional[float] = ..., capacity: _Optional[int] = ..., copies: _Optional[int] = ..., zones: _Optional[int] = ..., state: _Optional[str] = ..., location: _Optional[str] = ..., packs: _Optional[int] = ..., bytes: _Optional[int] = ..., missing: _Optional[int] = ..., bad: _Optional[int] = ..., moving: _Optional[int] = ..., leaving: _Optional[int] = ..., free: _Optional[int] = ..., in_use: _Optional[bool] = ..., trouble: _Optional[str] = ...) -> None: ...

class ListTargetsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListTargetsReply(_message.Message):
    __slots__ = ("targets",)
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    targets: _containers.RepeatedCompositeFieldContainer[Target]
    def __init__(self, targets: _Optional[_Iterable[_Union[Target, _Mapping]]] = ...) -> None: ...

class AddTargetRequest(_message.Message):
    __slots__ = ("name", "path", "bucket", "region", "endpoint", "profile", "zone", "weight", "capacity", "copies", "zones")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    ZONE_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_FIELD_NUMBER: _ClassVar[int]
    COPIES_FIELD_NUMBER: _ClassVar[int]
    ZONES_FIELD_NUMBER: _ClassVar[int]
    name: str
    path: str
    bucket: str
    region: str
    endpoint: str
    profile: str
    zone: str
    weight: float
    capacity: int
    copies: int
    zones: int
    def __init__(self, name: _Optional[str] = ..., path: _Optional[str] = ..., bucket: _Optional[str] = ..., region: _Optional[str] = ..., endpoint: _Optional[str] = ..., profile: _Optional[str] = ..., zone: _Optional[str] = ..., weight: _Optional[float] = ..., capacity: _Optional[int] = ..., copies: _Optional[int] = ..., zones: _Optional[int] = ...) -> None: ...

class ChangeTargetRequest(_message.Message):
    __slots__ = ("name", "state", "zone", "weight", "capacity", "copies", "zones", "renew", "force")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ZONE_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_FIELD_NUMBER: _ClassVar[int]
    COPIES_FIELD_NUMBER: _ClassVar[int]
    ZONES_FIELD_NUMBER: _ClassVar[int]
    RENEW_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: str
    zone: str
    weight: float
    capacity: int
    copies: int
    zones: int
    renew: bool
    force: bool
    def __init__(self, name: _Optional[str] = ..., state: _Optional[str] = ..., zone: _Optional[str] = ..., weight: _Optional[float] = ..., capacity: _Optional[int] = ..., copies: _Optional[int] = ..., zones: _Optional[int] = ..., renew: _Optional[bool] = ..., force: _Optional[bool] = ...) -> None: ...

class Job(_message.Message):
    __slots__ = ("name", "state", "runs", "last_result", "error", "done", "total", "what")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    LAST_RESULT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    WHAT_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: str
    runs: int
    last_result: str
    error: str
    done: int
    total: int
    what: str
    def __init__(self, name: _Optional[str] = ..., state: _Optional[str] = ..., runs: _Optional[int] = ..., last_result: _Optional[str] = ..., error: _Optional[str] = ..., done: _Optional[int] = ..., total: _Optional[int] = ..., what: _Optional[str] = ...) -> None: ...

class ListJobsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListJobsReply(_message.Message):
    __slots__ = ("jobs",)
    JOBS_FIELD_NUMBER: _ClassVar[int]
    jobs: _containers.RepeatedCompositeFieldContainer[Job]
    def __init__(self, jobs: _Optional[_Iterable[_Union[Job, _Mapping]]] = ...) -> None: ...

class RunJobRequest(_message.Message):
    __slots__ = ("name", "dry_run", "empty_trash")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    EMPTY_TRASH_FIELD_NUMBER: _ClassVar[int]
    name: str
    dry_run: bool
    empty_trash: bool
    def __init__(self, name: _Optional[str] = ..., dry_run: _Optional[bool] = ..., empty_trash: _Optional[bool] = ...) -> None: ...

class JobEvent(_message.Message):
    __slots__ = ("what", "done", "of", "report")
    WHAT_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    OF_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    what: str
    done: int
    of: int
    report: str
    def __init__(self, what: _Optional[str] = ..., done: _Optional[int] = ..., of: _Optional[int] = ..., report: _Optional[str] = ...) -> None: ...
