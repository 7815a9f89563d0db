"""The JSON of the API, as schemas."""

from __future__ import annotations

from typing import Any, Final

from gravitonfs.core import snapshots

Json = dict[str, Any]
SNAPSHOT_NAME: Final = f"^{snapshots.NAME}$"
_TEXT: Final = {"type": "string"}
_COUNT: Final = {"type": "integer", "minimum": 0}
_NUMBER: Final = {"type": "number"}
_TRUTH: Final = {"type": "boolean"}


def _maybe(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}


def _object(required: Json, optional: Json | None = None, *, closed: bool = False) -> Json:
    found: Json = {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
    }
    return found | ({"additionalProperties": False} if closed else {})


def _list(name: str) -> Json:
    return {"type": "array", "items": {"$ref": f"#/components/schemas/{name}"}}


BASE64: Final = {"type": "string", "pattern": "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"}
_BLOB: Final = {"type": "string", "pattern": "^blake3:[0-9a-f]{64}:(0|[1-9][0-9]{0,18})$"}
_NAME: Final = r"(?!\.{1,2}(/|$))[^/\u0000]{1,63}"
"""Whatever characters these are, they take no more than the 255 bytes of a name."""
_CHECKS: Final = {"type": "object", "additionalProperties": _TEXT}
_ENTRY: Final = {
    "name": _TEXT, "type": _TEXT, "size": _COUNT, "mode": _TEXT, "uid": _COUNT, "gid": _COUNT,
    "links": _COUNT, "mtime_ns": {"type": "integer"}, "ctime_ns": {"type": "integer"}, "blob": _maybe(_BLOB),
}  # fmt: skip

_PLACE: Final[Json] = {"type": "string", "pattern": "^/"}
_LIMIT: Final[Json] = {"type": "integer", "minimum": 0, "maximum": (1 << 62) - 1}
_QUOTA: Final[dict[str, Json]] = {
    "path": _TEXT,
    "max_bytes": _maybe(_COUNT),
    "max_inodes": _maybe(_COUNT),
    "bytes": _COUNT,
    "inodes": _COUNT,
    "counting": _TRUTH,
}

SCHEMAS: Final[Json] = {
    "Problem": _object(
        {"type": _TEXT, "title": _TEXT, "status": {"type": "integer"}, "detail": _TEXT}, {"request_id": _TEXT}
    ),
    "StoredBlob": _object({"id": _BLOB, "length": _COUNT, "new_bytes": _COUNT, "existed": _TRUTH}),
    "BlobRef": _object({"id": _BLOB, "length": _COUNT, "created_ns": _COUNT}),
    "BlobList": _object({"blobs": _list("BlobRef"), "next": _maybe(_BLOB)}),
    "Entry": _object(_ENTRY, {"name_base64": _TEXT, "new_bytes": _COUNT}),
    "Directory": _object(
        {"volume": _TEXT, "path": _TEXT, "type": {"const": "directory"}, "entries": _list("Entry")},
        {"next": _maybe(_TEXT), "path_base64": _TEXT},
    ),
    "NewUpload": _object(
        {},
        {
            "length": _maybe({"type": "integer", "minimum": 0, "maximum": 10**9}),
            "expected": _maybe({"type": "string", "pattern": "^blake3:[0-9a-f]{64}:[1-9][0-9]{0,7}$"}),
            "path": _maybe({"type": "string", "pattern": f"^/*{_NAME}(/+{_NAME})*$"}),
            "path_base64": _maybe(BASE64),
        },
        closed=True,
    ),
    "Upload": _object(
        {"id": _TEXT, "offset": _COUNT, "part_limit": _COUNT, "created": _NUMBER},
        {"length": _maybe(_COUNT), "expected": _maybe(_BLOB), "path": _maybe(_TEXT)},
    ),
    "UploadList": _object({"uploads": _list("Upload")}),
    "Completed": {"anyOf": [_object({"id": _BLOB, "length": _COUNT, "existed": _TRUTH}), _object(_ENTRY)]},
    "Attached": _object({"number": _COUNT, "volume": _TEXT, "label": _TEXT}),
    "AttachedList": _object({"sessions": _list("Attached")}),
    "Session": _object(
        {
            "authentication": _TRUTH,
            "signed_in": _TRUTH,
            "name": _TEXT,
            "admin": _TRUTH,
            "volumes": {"type": "array", "items": _object({"name": _TEXT, "write": _TRUTH})},
            "proof": _maybe(_TEXT),
            "expires": _maybe(_NUMBER),
        }
    ),
    "SignIn": _object({"token": _TEXT}, {"user": _TEXT}, closed=True),
    "Volume": _object({"name": _TEXT, "logical_bytes": _COUNT, "inodes": _COUNT}),
    "NewVolume": _object(
        {"name": {"type": "string", "pattern": "^[a-z0-9_-][a-z0-9._-]{0,62}$"}}, closed=True
    ),
    "VolumeList": _object({"volumes": _list("Volume")}),
    "Snapshot": _object(
        {"name": _TEXT, "created": _NUMBER, "logical_bytes": _COUNT, "inodes": _COUNT, "scheduled": _TRUTH}
    ),
    "NewSnapshot": _object({"name": {"type": "string", "pattern": SNAPSHOT_NAME}}, closed=True),
    "SnapshotList": _object({"snapshots": _list("Snapshot")}),
    "Quota": _object(_QUOTA, {"path_base64": _TEXT}),
    "NewQuota": _object(
        {"path": _PLACE}, {"max_bytes": _maybe(_LIMIT), "max_inodes": _maybe(_LIMIT)}, closed=True
    ),
    "QuotaList": _object({"quotas": _list("Quota")}),
    "CheckedQuota": _object(
        {
            "quota": {"$ref": "#/components/schemas/Quota"},
            "counted_bytes": _COUNT,
            "counted_inodes": _COUNT,
            "right": _TRUTH,
            "repaired": _TRUTH,
        }
    ),
    "CheckedQuotaList": _object({"quotas": _list("CheckedQuota")}),
    "QuotaCheck": _object({}, {"path": _maybe(_PLACE), "repair": _TRUTH}, closed=True),
    "Target": _object(
        {
            "name": _TEXT,
            "kind": _TEXT,
            "zone": _TEXT,
            "weight": _NUMBER,
            "capacity": _COUNT,
            "copies": _COUNT,
            "zones": _COUNT,
            "state": _TEXT,
            "location": _TEXT,
            "packs": _COUNT,
            "bytes": _COUNT,
            "missing": _COUNT,
            "bad": _COUNT,
            "moving": _COUNT,
            "leaving": _COUNT,
            "free": _COUNT,
            "in_use": _TRUTH,
            "trouble": _TEXT,
        }
    ),
    "TargetList": _object({"targets": _list("Target")}),
    "TargetChange": _object(
        {},
        {
            "state": {"enum": ["active", "draining", "removed"]},
            "zone": {"type": "string", "minLength": 1},
            "weight": {"type": "number", "minimum": 0, "maximum": 1000},
            "capacity": {"type": "integer", "minimum": 0, "maximum": 10**17},
            "copies": {"type": "integer", "minimum": 1, "maximum": 16},
            "zones": {"type": "integer", "minimum": 1, "maximum": 16},
            "force": _TRUTH,
        },
        closed=True,
    ),
    "Removed": _object(
        {"path": _TEXT, "trash": _TEXT, "kind": _TEXT, "bytes": _COUNT, "removed": _NUMBER},
        {"path_base64": _TEXT, "trash_base64": _TEXT},
    ),
    "TrashList": _object({"removed": _list("Removed"), "more": _TRUTH}),
    "NewRestore": _object(
        {"path": _PLACE},
        {
            "path_base64": _maybe(BASE64),
            "snapshot": _maybe(_TEXT),
            "to": _maybe(_PLACE),
            "to_base64": _maybe(BASE64),
            "force": _TRUTH,
        },
        closed=True,
    ),
    "UsageList": _object(
        {
            "samples": {
                "type": "array",
                "items": _object(
                    {
                        "time": _COUNT,
                        "logical_bytes": _COUNT,
                        "unique_bytes": _COUNT,
                        "stored_bytes": _COUNT,
                        "inodes": _COUNT,
                        "volumes": {"type": "object"},
                    }
                ),
            }
        }
    ),
    "Job": _object(
        {"id": _TEXT, "kind": _TEXT, "state": {"enum": ["running", "done", "cancelled", "failed"]}},
        {"started": _NUMBER, "ended": _maybe(_NUMBER), "progress": {}, "result": {}, "error": _maybe(_TEXT)},
    ),
    "JobList": _object({"jobs": _list("Job")}),
    "Gc": _object({}, {"dry_run": _TRUTH, "empty_trash": _TRUTH}, closed=True),
    "Scrub": _object(
        {}, {"bytes_per_second": {"type": "integer", "minimum": 0, "maximum": 10**12}}, closed=True
    ),
    "Fsck": _object({}, {"read_data": _TRUTH, "repair": _TRUTH}, closed=True),
    "Backup": _object({}, closed=True),
    "Dump": _object(
        {"name": _TEXT, "owner": _TEXT, "here": _TRUTH, "on_targets": _TRUTH},
        {
            "made": _maybe(_NUMBER),
            "bytes": _maybe(_COUNT),
            "packs": _maybe(_COUNT),
            "pack_bytes": _maybe(_COUNT),
        },
    ),
    "DumpList": _object({"dumps": _list("Dump")}),
    "Health": _object(
        {"status": {"enum": ["ok", "degraded"]}, "checks": _CHECKS},
        {"uptime_seconds": _NUMBER, "version": _TEXT},
    ),
    "Live": _object({"status": {"const": "ok"}}),
    "Ready": _object({"status": {"enum": ["ok", "unready"]}, "checks": _CHECKS}),
    "Anything": {"type": "object"},
}
