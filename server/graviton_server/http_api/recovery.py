"""What a user brings back: /api/v1/snapshots and /api/v1/trash tell what there is, /api/v1/restores does it.

Reading needs ``graviton:read`` for the volume, bringing back ``graviton:write``.
"""

from __future__ import annotations

import base64
from typing import Any, Protocol

import falcon
import msgspec

from graviton_server.control.request import Request
from graviton_server.control.store_requests import RestoreRemoved, RestoreSnapshot
from graviton_server.http_api.admin import SnapshotAdmin
from graviton_server.http_api.context import Api, answer, document, number, text
from graviton_server.http_api.jobs import Jobs
from gravitonfs.errors import Invalid, NotFound

_MOST = 1000


class Recovery(Protocol):
    def removed(self, volume: str, path: bytes, limit: int) -> tuple[list[dict[str, object]], bool]:
        """At most so many of what was removed at or below a path, the newest day first; whether there is
        more. NotFound."""


class Snapshots:
    def __init__(self, api: Api, snapshots: SnapshotAdmin) -> None:
        self._api = api
        self._snapshots = snapshots

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        answer(resp, {"snapshots": self._snapshots.list(self._api.volume_of(req))})


class Trash:
    def __init__(self, api: Api, recovery: Recovery) -> None:
        self._api = api
        self._recovery = recovery

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        limit = number(req, "limit", 1, _MOST) or _MOST
        plain = text(req, "path")
        path = _path("/" if plain is None else plain, text(req, "path_base64"), "path")
        removed, more = self._recovery.removed(self._api.volume_of(req), path, limit)
        answer(resp, {"removed": removed, "more": more})


class _Restore(msgspec.Struct, forbid_unknown_fields=True):
    """``snapshot`` None: from the trash, which replaces nothing. ``to`` None: to where it was. ``force``:
    what is there is replaced."""

    path: str
    path_base64: str | None = None
    snapshot: str | None = None
    to: str | None = None
    to_base64: str | None = None
    force: bool = False


class Restores:
    def __init__(self, api: Api, jobs: Jobs) -> None:
        self._api = api
        self._jobs = jobs

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        volume = self._api.volume_of(req)
        wanted = document(req, self._api, _Restore)
        path = _path(wanted.path, wanted.path_base64, "path")
        target = None if wanted.to is None else _path(wanted.to, wanted.to_base64, "to")
        request: Request[Any]
        if wanted.snapshot is not None:
            request = RestoreSnapshot(
                volume=volume, name=wanted.snapshot, path=path, target=target, force=wanted.force
            )
        else:
            request = RestoreRemoved(volume=volume, path=path, target=target)
        job = self._jobs.start("restore", request, alone=False)
        answer(resp, job.told(), 202)
        resp.location = f"/api/v1/restores/{job.id}"

    def on_get_one(self, req: falcon.Request, resp: falcon.Response, job: str) -> None:
        volume = self._api.volume_of(req)
        found, whose = self._jobs.one(job)
        if whose != volume or found["kind"] != "restore":
            raise NotFound("there is no such job")
        answer(resp, found)


def _path(plain: str, encoded: str | None, name: str) -> bytes:
    """``encoded``: the same in Base64, where it is no text; it is what counts."""
    if not plain.startswith("/"):
        raise Invalid(f"{name} begins with '/'")
    try:
        found = plain.encode() if encoded is None else base64.b64decode(encoded, validate=True)
    except UnicodeEncodeError:
        raise Invalid(f"{name} is text, or use {name}_base64") from None
    except ValueError:
        raise Invalid(f"{name}_base64 is Base64") from None
    if not found.startswith(b"/") or b"\0" in found or b".." in found.split(b"/"):
        raise NotFound(f"there is nothing that {name} can mean: it begins with '/', without '..' and NUL")
    return found
