"""/openapi.json: the API described for programs, clients and fuzzers."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import gravitonfs
from graviton_server.http_api.schemas import BASE64, SCHEMAS, SNAPSHOT_NAME

Json = dict[str, Any]

_BLOB_PATTERN: Final = "^blake3:[0-9a-f]{64}:(0|[1-9][0-9]{0,17})$"
_VOLUME_NAME: Final = "^[a-z0-9_-][a-z0-9._-]{0,62}$"
_ALWAYS: Final = (400, 401, 403, 429, 500, 503)
"""What any call may be answered with: bad input, no or a poor token, limits, trouble inside."""
_MEANINGS: Final = {
    400: "The request is malformed.", 401: "A token is needed, or this one is not accepted.",
    403: "The token does not allow this.", 404: "There is nothing of this name.",
    408: "The next byte did not come in time.", 409: "The state of things does not allow this.",
    412: "A condition does not hold.", 413: "The body is larger than is allowed.",
    414: "The path is too long.", 415: "The coding of the body is not taken here.",
    416: "There is no such range.", 423: "Somebody is at it: a lock stands against this.",
    429: "A limit is used up; Retry-After tells when to come back.",
    500: "The server failed; its log says why.",
    501: "The server does not do this.", 503: "The server cannot do this now.",
    507: "There is no room.",
}  # fmt: skip


_ABOUT: Final = """\
Content-addressed, deduplicating storage. Errors are problems (RFC 9457).

Reading blobs and files takes `Range`, `If-Range`, `If-Match`, `If-None-Match`, `If-Modified-Since` and
`If-Unmodified-Since`; writing and deleting files takes the conditions, too (RFC 9110; 304, 412 and 416).
`POST /api/v1/blobs` and `PUT /api/v1/files/…` take `expected`, the id that the bytes must have: others are
refused with 400, and nothing stays. Names in paths are any bytes, escaped."""


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(name: str, description: str, headers: Json | None = None) -> Json:
    found: Json = {"description": description, "content": {"application/json": {"schema": _ref(name)}}}
    return found | ({"headers": headers} if headers else {})


def _octets(description: str) -> Json:
    schema = {"type": "string", "format": "binary"}
    return {"description": description, "content": {"*/*": {"schema": schema}}}


def _problem(status: int) -> Json:
    return {
        "description": _MEANINGS[status],
        "content": {"application/problem+json": {"schema": _ref("Problem")}},
    }


def _operation(
    name: str,
    summary: str,
    tag: str,
    responses: dict[int, Json],
    *problems: int,
    parameters: tuple[Json, ...] = (),
    body: Json | None = None,
    opened: bool = False,
) -> Json:
    answers = {str(status): value for status, value in responses.items()}
    for status in sorted({*problems, *(() if opened else _ALWAYS)}):
        answers.setdefault(str(status), _problem(status))
    found: Json = {"operationId": name, "summary": summary, "tags": [tag], "responses": answers}
    if parameters:
        found["parameters"] = list(parameters)
    if body is not None:
        found["requestBody"] = body
    if opened:
        found["security"] = []
    return found


def _query(name: str, schema: Json, description: str) -> Json:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": description}


def _path(name: str, schema: Json) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _header(name: str, schema: Json, description: str, *, required: bool = False) -> Json:
    return {
        "name": name, "in": "header", "required": required, "schema": schema, "description": description
    }  # fmt: skip


_VOLUME: Final[Json] = {"$ref": "#/components/parameters/Volume"}
_BLOB: Final = _path("blob", {"type": "string", "pattern": _BLOB_PATTERN})
_UPLOAD: Final = _path("upload", {"type": "string", "pattern": "^[0-9a-f]{32}$"})
_JOB: Final = _path("job", {"type": "string", "pattern": "^[0-9a-f]{32}$"})
_FILE: Final = _path(
    "path", {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[^/\\u0000]+$"}
)
_OFFSET: Final = _header(
    "Upload-Offset",
    {"type": "integer", "minimum": 0, "maximum": 10**15},
    "Where the part belongs.",
    required=True,
)
_BYTES_BODY: Final = {
    "required": False,
    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
}
_NOTHING: Final = {"description": "Done."}
_UNCHANGED: Final = {"description": "The client has it already."}
_UPLOADED: Final = (408, 409, 413, 423, 507)


_PAGES: Final = (
    _query(
        "limit",
        {"type": "integer", "minimum": 1, "maximum": 10_000},
        "Of a directory: so many entries at most.",
    ),
    _query(
        "after",
        {"type": "string", "pattern": BASE64["pattern"].replace("+/", "_-")},
        "Of a directory: the next of an earlier page.",
    ),
)


def _body(name: str) -> Json:
    return {"required": False, "content": {"application/json": {"schema": _ref(name)}}}


def _blobs() -> Json:
    limit = _query("limit", {"type": "integer", "minimum": 1, "maximum": 1000}, "How many at most.")
    after = _query("after", {"type": "string", "pattern": _BLOB_PATTERN}, "Those behind this id.")
    return {
        "/api/v1/blobs": {
            "post": _operation(
                "storeBlob", "Store bytes as a blob.", "blobs", {201: _json("StoredBlob", "It is durable.")},
                404, 408, 413, 507, parameters=(_VOLUME,), body=_BYTES_BODY,
            ),
            "get": _operation(
                "listBlobs", "The blobs of a volume.", "blobs", {200: _json("BlobList", "A page.")}, 404,
                parameters=(_VOLUME, limit, after),
            ),
        },
        "/api/v1/blobs/{blob}": {
            "get": _operation(
                "readBlob", "A blob's bytes.", "blobs",
                {200: _octets("All of it."), 206: _octets("A range."), 304: _UNCHANGED}, 404, 412, 416,
                parameters=(_BLOB, _VOLUME),
            ),
            "head": _operation(
                "statBlob", "Whether it is there, and its length.", "blobs",
                {200: {"description": "It is there."}, 304: _UNCHANGED,
                 **{status: {"description": _MEANINGS[status]} for status in (400, 404, 412)}},
                parameters=(_BLOB, _VOLUME),
            ),
            "delete": _operation(
                "dropBlob", "Drop the reference; files keep the bytes.", "blobs", {204: _NOTHING}, 404, 412,
                parameters=(_BLOB, _VOLUME),
            ),
        },
    }  # fmt: skip


def _files() -> Json:
    recursive = _query("recursive", {"type": "boolean"}, "A directory with all that is in it.")
    download = _query("download", {"type": "boolean"}, "To be stored by a browser, not shown.")
    return {
        "/api/v1/files/{path}": {
            "get": _operation(
                "readFile", "A file's bytes, or a directory as JSON.", "files",
                {200: _octets("The bytes, or the entries (Directory)."), 206: _octets("A range."),
                 304: _UNCHANGED}, 404, 412, 416,
                parameters=(_FILE, _VOLUME, download, *_PAGES),
            ),
            "head": _operation(
                "statFile", "Whether it is there.", "files",
                {200: {"description": "It is there."}, 304: _UNCHANGED,
                 **{status: {"description": _MEANINGS[status]} for status in (400, 404, 412)}},
                parameters=(_FILE, _VOLUME),
            ),
            "put": _operation(
                "writeFile", "Write a file whole; directories above are made.", "files",
                {200: _json("Entry", "It was replaced."), 201: _json("Entry", "It was made.")},
                404, 412, 415, *_UPLOADED,
                parameters=(_FILE, _VOLUME), body=_BYTES_BODY,
            ),
            "delete": _operation(
                "deleteFile", "Remove a file or a directory.", "files", {204: _NOTHING}, 404, 409, 412, 423,
                parameters=(_FILE, _VOLUME, recursive),
            ),
        },
        "/api/v1/files": {
            "head": _operation(
                "statRoot", "Whether the volume is there.", "files",
                {200: {"description": "It is."},
                 **{status: {"description": _MEANINGS[status]} for status in (400, 404)}},
                parameters=(_VOLUME,),
            ),
            "get": _operation(
                "readRoot", "The root directory.", "files", {200: _json("Directory", "Its entries.")}, 404,
                parameters=(_VOLUME, *_PAGES),
            ),
        },
    }  # fmt: skip


def _uploads() -> Json:
    return {
        "/api/v1/uploads": {
            "post": _operation(
                "beginUpload", "Begin an upload in parts.", "uploads", {201: _json("Upload", "Begun.")},
                404, 409, 413, 414, 507, parameters=(_VOLUME,), body=_body("NewUpload"),
            ),
            "get": _operation(
                "listUploads", "Uploads under way.", "uploads", {200: _json("UploadList", "All.")}, 404,
                parameters=(_VOLUME,),
            ),
        },
        "/api/v1/uploads/{upload}": {
            "get": _operation(
                "statUpload", "How far it is.", "uploads", {200: _json("Upload", "As it stands.")}, 404,
                parameters=(_UPLOAD, _VOLUME),
            ),
            "head": _operation(
                "offsetOfUpload", "How far it is, in Upload-Offset.", "uploads",
                {200: {"description": "As it stands."},
                 **{status: {"description": _MEANINGS[status]} for status in (400, 404)}},
                parameters=(_UPLOAD, _VOLUME),
            ),
            "patch": _operation(
                "addPart", "Add a part at the end.", "uploads", {204: _NOTHING}, 404, *_UPLOADED,
                parameters=(_UPLOAD, _VOLUME, _OFFSET), body=_BYTES_BODY,
            ),
            "post": _operation(
                "completeUpload", "Make a blob, or a file, of it.", "uploads",
                {201: _json("Completed", "It is durable.")}, 404, 409, 423, 507,
                parameters=(_UPLOAD, _VOLUME),
            ),
            "delete": _operation(
                "abortUpload", "Give it up.", "uploads", {204: _NOTHING}, 404, 423,
                parameters=(_UPLOAD, _VOLUME),
            ),
        },
    }  # fmt: skip


def _admin() -> Json:
    base = "/api/v1/admin"
    volume = _path("name", {"type": "string", "pattern": _VOLUME_NAME})
    session = _path("session", {"type": "integer", "minimum": 1, "maximum": 10**17})
    found: Json = {
        f"{base}/status": {"get": _told("status", "What the process is doing.", "Anything")},
        f"{base}/counters": {"get": _told("counters", "Totals since the start.", "Anything")},
        f"{base}/info": {"get": _told("info", "What the store holds.", "Anything")},
        f"{base}/work": {"get": _told("work", "What the process does in the background.", "Anything")},
        f"{base}/usage": {
            "get": _operation(
                "usage", "Usage over time; each sample holds until the next.", "admin",
                {200: _json("UsageList", "The oldest first.")},
                parameters=tuple(
                    _query(name, {"type": "integer", "minimum": 0, "maximum": 10**11}, "Since the epoch.")
                    for name in ("since", "until")
                ),
            )
        },
        f"{base}/sessions": {"get": _told("listSessions", "Who is attached.", "AttachedList")},
        f"{base}/sessions/{{session}}": {
            "delete": _operation(
                "evictSession", "End a session.", "admin", {204: _NOTHING}, 404, parameters=(session,)
            )
        },
        f"{base}/volumes": {
            "get": _told("listVolumes", "The volumes.", "VolumeList"),
            "post": _operation(
                "createVolume", "An empty volume.", "admin", {201: _json("Volume", "It is there.")}, 409, 413,
                body=_body("NewVolume") | {"required": True},
            ),
        },
        f"{base}/volumes/{{name}}": {
            "delete": _operation(
                "deleteVolume", "A volume with all that is in it.", "admin", {204: _NOTHING}, 404, 423,
                parameters=(volume,),
            ),
        },
        f"{base}/volumes/{{name}}/snapshots": {
            "get": _operation(
                "listSnapshots", "Its snapshots, the oldest first.", "admin",
                {200: _json("SnapshotList", "As it is now.")}, 404, parameters=(volume,),
            ),
            "post": _operation(
                "createSnapshot", "The volume as it is now, kept under a name.", "admin",
                {201: _json("Snapshot", "It is there.")}, 404, 409, 413,
                body=_body("NewSnapshot") | {"required": True}, parameters=(volume,),
            ),
        },
        f"{base}/volumes/{{name}}/snapshots/{{snapshot}}": {
            "delete": _operation(
                "deleteSnapshot", "What it alone kept is freed in the background.", "admin", {204: _NOTHING},
                404, parameters=(volume, _path("snapshot", {"type": "string", "pattern": SNAPSHOT_NAME})),
            ),
        },
        **_quota_paths(base, volume),
        f"{base}/dumps": {"get": _told("listDumps", "Dumps that are kept.", "DumpList")},
        f"{base}/targets": {"get": _told("listTargets", "Where packs are kept.", "TargetList")},
        f"{base}/targets/{{target}}": {
            "patch": _operation(
                "changeTarget", "Change how a target is used; what is not named stays.", "admin",
                {200: _json("Target", "As it is now.")}, 404, 409, 413, 423,
                body=_body("TargetChange"), parameters=(_path("target", {"type": "string", "minLength": 1}),),
            ),
        },
        f"{base}/jobs": {"get": _told("listJobs", "Jobs of this process.", "JobList")},
        f"{base}/jobs/{{job}}": {
            "get": _operation(
                "readJob", "One job.", "admin", {200: _json("Job", "As it stands.")}, 404, parameters=(_JOB,)
            ),
        },
        f"{base}/jobs/{{job}}/cancel": {
            "post": _operation(
                "cancelJob", "Cancel a job at a safe point.", "admin", {202: _json("Job", "Asked.")}, 404,
                parameters=(_JOB,),
            ),
        },
    }  # fmt: skip
    for kind, wanted in (("gc", "Gc"), ("scrub", "Scrub"), ("fsck", "Fsck"), ("backup", "Backup")):
        found[f"{base}/{kind}"] = {
            "post": _operation(
                f"start{wanted}", f"Start the job {kind}.", "admin", {202: _json("Job", "Runs.")}, 409, 413,
                body=_body(wanted),
            )
        }  # fmt: skip
    return found


def _quota_paths(base: str, volume: Json) -> Json:
    of_one = _query("path", {"type": "string", "pattern": "^/"}, "Whose quota.") | {"required": True}
    return {
        f"{base}/volumes/{{name}}/quotas": {
            "get": _operation(
                "listQuotas", "Directories with a quota, by path.", "admin",
                {200: _json("QuotaList", "As they are now.")}, 404, parameters=(volume,),
            ),
            "put": _operation(
                "setQuota", "Give a directory a quota, or other limits; what is there is counted first.",
                "admin", {200: _json("Quota", "It is in force.")}, 404, 409, 413,
                body=_body("NewQuota") | {"required": True}, parameters=(volume,),
            ),
            "delete": _operation(
                "deleteQuota", "It has no limits any more.", "admin", {204: _NOTHING}, 404, 409,
                parameters=(volume, of_one),
            ),
        },
        f"{base}/volumes/{{name}}/quotas/check": {
            "post": _operation(
                "checkQuotas", "Count again, one or all; with repair what is wrong is put right.", "admin",
                {200: _json("CheckedQuotaList", "What was found.")}, 404, 409, 413,
                body=_body("QuotaCheck"), parameters=(volume,),
            ),
        },
    }  # fmt: skip


def _recovery() -> Json:
    limit = _query("limit", {"type": "integer", "minimum": 1, "maximum": 1000}, "How many at most.")
    plain = _query("path", {"type": "string", "pattern": "^/"}, "At or below which path.")
    exact = _query("path_base64", BASE64, "The same, of a path that is no text.")
    return {
        "/api/v1/snapshots": {
            "get": _operation(
                "readSnapshots", "A volume's snapshots; one is read below /.snapshots/NAME.", "recovery",
                {200: _json("SnapshotList", "The oldest first.")}, 404, parameters=(_VOLUME,),
            ),
        },
        "/api/v1/trash": {
            "get": _operation(
                "readTrash", "What was removed at or below a path.", "recovery",
                {200: _json("TrashList", "The newest day first.")}, 404, 501,
                parameters=(_VOLUME, plain, exact, limit),
            ),
        },
        "/api/v1/restores": {
            "post": _operation(
                "restore", "Bring a file or a tree back, from a snapshot or the trash.", "recovery",
                {202: _json("Job", "Runs.")}, 404, 409, 413, parameters=(_VOLUME,),
                body=_body("NewRestore") | {"required": True},
            ),
        },
        "/api/v1/restores/{job}": {
            "get": _operation(
                "readRestore", "How it goes.", "recovery", {200: _json("Job", "As it stands.")}, 404,
                parameters=(_JOB, _VOLUME),
            ),
        },
    }  # fmt: skip


def _session() -> Json:
    return {
        "/api/v1/session": {
            "get": _operation(
                "readSession", "Who asks, and what they may do.", "session",
                {200: _json("Session", "As it is.")},
            ),
            "post": _operation(
                "signIn", "Sign a browser in with a token; the answer sets a cookie.", "session",
                {200: _json("Session", "Signed in.")}, 409, 413, body=_body("SignIn") | {"required": True},
            ),
            "delete": _operation(
                "signOut", "End the session of the cookie.", "session", {204: _NOTHING}, 409
            ),
        },
    }  # fmt: skip


def _told(name: str, summary: str, schema: str) -> Json:
    return _operation(name, summary, "admin", {200: _json(schema, "As it is now.")})


def _open() -> Json:
    metrics = {
        "description": "Prometheus' text format.",
        "content": {"text/plain": {"schema": {"type": "string"}}},
    }
    return {
        "/health": {"get": _operation("health", "The process lives.", "health",
                                      {200: _json("Health", "With details.")}, opened=True)},
        "/health/live": {"get": _operation("live", "The process lives.", "health",
                                           {200: _json("Live", "It does.")}, opened=True)},
        "/health/ready": {"get": _operation(
            "ready", "It can serve.", "health",
            {200: _json("Ready", "It can."), 503: _json("Ready", "It cannot now.")}, opened=True)},
        "/metrics": {"get": _operation("metrics", "Metrics.", "health", {200: metrics}, opened=True)},
        "/openapi.json": {"get": _operation("openapi", "This.", "health",
                                            {200: _json("Anything", "OpenAPI 3.1.")}, opened=True)},
    }  # fmt: skip


@lru_cache(maxsize=1)
def specification() -> Json:
    schema = {"type": "string", "pattern": _VOLUME_NAME, "default": "main", "examples": ["main"]}
    volume = _query("volume", schema, "Which volume.")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Graviton",
            "version": gravitonfs.__version__,
            "description": _ABOUT,
        },
        "paths": {**_blobs(), **_files(), **_uploads(), **_recovery(), **_admin(), **_session(), **_open()},
        "components": {
            "schemas": SCHEMAS,
            "parameters": {"Volume": volume},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}, {}],
    }
