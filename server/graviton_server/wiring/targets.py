"""Rows of targets from a configuration, and targets from rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from graviton_server.targets.directory import DirectoryTarget
from gravitonfs.errors import Invalid, Unsupported
from gravitonfs.ports.replicas import NO_TARGET, TargetRow, TargetState

if TYPE_CHECKING:
    from graviton_server.config.sections import Config
    from graviton_server.config.sections import Target as TargetKeys
    from graviton_server.targets.s3 import S3Target
    from graviton_server.targets.shard import ShardTarget

LOCAL: Final = "local"
BUCKET: Final = "s3"
SHARD: Final = "shard"
_OWN_COPIES: Final = {"directory": 1, "s3": 3, SHARD: 1}
_NEEDS: Final = {
    "directory": ("path", "a path"),
    "s3": ("bucket", "a bucket"),
    SHARD: ("address", "an address"),
}
_SHARD_FIELDS: Final = ("address", "token_file", "ca_file", "cert_file", "key_file")
_NOT_S3: Final = ("path", "address", "token_file", "cert_file", "key_file")


class Location(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What opens a target. Credentials come from the SDK's chain: ``profile`` names one of its profiles."""

    path: str | None = None
    bucket: str | None = None
    region: str | None = None
    endpoint: str | None = None
    path_style: bool | None = None
    sse: str | None = None
    storage_class: str | None = None
    ca_file: str | None = None
    profile: str | None = None
    address: str | None = None
    token_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    part_size: int = 8 << 20
    max_parts: int = 10_000

    def encode(self) -> str:
        return msgspec.json.encode(self).decode()

    @property
    def shown(self) -> str:
        return self.path or self.address or f"s3://{self.bucket}"


S3_FIELDS: Final = tuple(name for name in Location.__struct_fields__ if name not in _NOT_S3)


def location_of(row: TargetRow) -> Location:
    return msgspec.json.decode(row.location, type=Location)


def new_row(name: str, kind: str, location: Location, **given: Any) -> TargetRow:
    """``given``: fields other than their defaults; None counts as not given."""
    own = _OWN_COPIES[kind]
    field, called = _NEEDS[kind]
    if getattr(location, field) is None:
        raise Invalid(f"a target of kind {kind} needs {called}")
    row = TargetRow(NO_TARGET, name, kind, "default", 1.0, 0, own, own, TargetState.ACTIVE, location.encode())
    return row._replace(**{key: value for key, value in given.items() if value is not None})


def own_row(data: Path, config: Config | None = None) -> TargetRow:
    """The target that a store has without any further ones: packs in its directory, or its bucket."""
    if config is None or config.storage.backend == "directory":
        return new_row(LOCAL, "directory", Location(path=str(data)))
    s3 = config.storage.s3
    return new_row(
        BUCKET,
        "s3",
        Location(
            bucket=s3.bucket or "",
            region=s3.region,
            endpoint=s3.endpoint,
            path_style=s3.path_style,
            sse=s3.sse,
            storage_class=s3.storage_class,
            ca_file=s3.ca_file,
            part_size=s3.multipart.part_size,
            max_parts=s3.multipart.max_parts,
        ),
    )


def configured_rows(data: Path, config: Config) -> list[TargetRow]:
    """The store's own target first; an entry of its name says more about it."""
    own = own_row(data, config)
    rows = {own.name: own}
    for keys in config.storage.targets:
        rows[keys.name] = _of_keys(keys)
    return list(rows.values())


def _of_keys(keys: TargetKeys) -> TargetRow:
    place = Location(
        path=keys.path, bucket=keys.bucket, region=keys.region, endpoint=keys.endpoint, profile=keys.profile
    )
    return new_row(
        keys.name,
        keys.kind,
        place,
        zone=keys.zone,
        weight=keys.weight,
        capacity=keys.capacity,
        copies=keys.copies,
        zones=keys.zones,
    )


def open_target(
    row: TargetRow, store_uuid: bytes | None, *, create: bool = False
) -> DirectoryTarget | S3Target | ShardTarget:
    """``create``: an empty place becomes a target of this store. Without ``store_uuid``: whosever it is, but
    for shards (Unsupported)."""
    place = location_of(row)
    if row.kind == "directory":
        root = Path(place.path or "")
        if create and store_uuid is not None:
            return DirectoryTarget.make(root, store_uuid, row.name)
        return DirectoryTarget(root, row.name, store_uuid)
    if row.kind == SHARD:
        from graviton_server.targets.shard import ShardSettings, ShardTarget

        if store_uuid is None:
            raise Unsupported(f"{row.name} is a shard: dumps are not kept there")
        settings = ShardSettings(*(getattr(place, field) for field in _SHARD_FIELDS))
        return ShardTarget(settings, row.name, store_uuid, create=create)
    from graviton_server.targets.s3 import S3Settings, S3Target

    fields = {field: getattr(place, field) for field in S3_FIELDS}
    if place.endpoint is None:
        del fields["endpoint"]  # that of the environment
    return S3Target(S3Settings(**fields), row.name, store_uuid, create=create)
