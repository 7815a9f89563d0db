"""/api/v1/admin: what an operator asks for. Needs ``graviton:admin``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import quote

import falcon
import msgspec

from graviton_server.control import requests
from graviton_server.control.request import Request
from graviton_server.http_api.context import Api, answer, document, whole
from graviton_server.http_api.jobs import Jobs
from gravitonfs.errors import NotFound

Ask = Callable[[Request[Any]], Any]


class Sessions(Protocol):
    """Who is attached."""

    def list(self) -> list[dict[str, Any]]: ...

    def evict(self, number: int) -> None:
        """NotFound."""


class VolumeAdmin(Protocol):
    def list(self) -> list[dict[str, Any]]: ...
    def create(self, name: str) -> dict[str, Any]:
        """Exists, Invalid."""

    def delete(self, name: str) -> None:
        """NotFound, Busy while somebody uses it, NotPermitted for the first."""


class SnapshotAdmin(Protocol):
    """Of a volume: NotFound where there is none."""

    def list(self, volume: str) -> list[dict[str, Any]]: ...
    def create(self, volume: str, name: str) -> dict[str, Any]:
        """Exists, Invalid."""

    def delete(self, volume: str, name: str) -> None:
        """NotFound."""


class Status:
    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        answer(resp, msgspec.to_builtins(self._ask(requests.GetStatus())))

    def on_get_counters(self, req: falcon.Request, resp: falcon.Response) -> None:
        answer(resp, msgspec.to_builtins(self._ask(requests.GetCounters())))

    def on_get_info(self, req: falcon.Request, resp: falcon.Response) -> None:
        answer(resp, msgspec.to_builtins(self._ask(requests.Info())))


class DumpList:
    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        answer(resp, {"dumps": msgspec.to_builtins(self._ask(requests.ListDumps()))})


class SessionList:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        answer(resp, {"sessions": self._sessions.list()})


class OneSession:
    def __init__(self, api: Api, sessions: Sessions) -> None:
        self._pool = api.pool
        self._sessions = sessions

    def on_delete(self, req: falcon.Request, resp: falcon.Response, session: str) -> None:
        """What it sends from now on is refused."""
        if not session.isascii() or not session.isdecimal() or len(session) > 18:
            raise NotFound("there is no such session")
        self._sessions.evict(int(session))
        self._pool.drop(int(session))
        resp.status = falcon.HTTP_204


class VolumeList:
    def __init__(self, api: Api, volumes: VolumeAdmin) -> None:
        self._api = api
        self._volumes = volumes

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        answer(resp, {"volumes": self._volumes.list()})

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        wanted = document(req, self._api, _Volume)
        answer(resp, self._volumes.create(wanted.name), 201)
        resp.location = f"/api/v1/admin/volumes/{wanted.name}"


class OneVolume:
    def __init__(self, api: Api, volumes: VolumeAdmin) -> None:
        self._pool = api.pool
        self._volumes = volumes

    def on_delete(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """With all that is in it."""
        self._pool.let_go_of(name)
        self._volumes.delete(name)
        resp.status = falcon.HTTP_204


class _Volume(msgspec.Struct, forbid_unknown_fields=True):
    name: str


class SnapshotList:
    def __init__(self, api: Api, snapshots: SnapshotAdmin) -> None:
        self._api = api
        self._snapshots = snapshots

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        answer(resp, {"snapshots": self._snapshots.list(name)})

    def on_post(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        wanted = document(req, self._api, _Volume)
        answer(resp, self._snapshots.create(name, wanted.name), 201)
        resp.location = f"/api/v1/admin/volumes/{quote(name)}/snapshots/{quote(wanted.name)}"


class OneSnapshot:
    def __init__(self, snapshots: SnapshotAdmin) -> None:
        self._snapshots = snapshots

    def on_delete(self, req: falcon.Request, resp: falcon.Response, name: str, snapshot: str) -> None:
        self._snapshots.delete(name, snapshot)
        resp.status = falcon.HTTP_204


class _Gc(msgspec.Struct, forbid_unknown_fields=True):
    dry_run: bool = False
    empty_trash: bool = False


class _Scrub(msgspec.Struct, forbid_unknown_fields=True):
    bytes_per_second: int | float = 0


class _Fsck(msgspec.Struct, forbid_unknown_fields=True):
    read_data: bool = False
    repair: bool = False


class _Nothing(msgspec.Struct, forbid_unknown_fields=True):
    pass


class Work:
    """POST starts a job and answers 202 with it."""

    def __init__(self, api: Api, jobs: Jobs) -> None:
        self._api = api
        self._jobs = jobs

    def on_post_gc(self, req: falcon.Request, resp: falcon.Response) -> None:
        wanted = document(req, self._api, _Gc)
        request = requests.Collect(dry_run=wanted.dry_run, empty_trash=wanted.empty_trash)
        self._start(resp, "gc", request)

    def on_post_scrub(self, req: falcon.Request, resp: falcon.Response) -> None:
        rate = whole(document(req, self._api, _Scrub).bytes_per_second, "bytes_per_second", 10**12)
        self._start(resp, "scrub", requests.Scrub(bytes_per_second=rate or 0))

    def on_post_fsck(self, req: falcon.Request, resp: falcon.Response) -> None:
        wanted = document(req, self._api, _Fsck)
        self._start(resp, "fsck", requests.Check(read_data=wanted.read_data, repair=wanted.repair))

    def on_post_backup(self, req: falcon.Request, resp: falcon.Response) -> None:
        document(req, self._api, _Nothing)
        self._start(resp, "backup", requests.BackUp())

    def _start(self, resp: falcon.Response, kind: str, request: Request[Any]) -> None:
        job = self._jobs.start(kind, request)
        answer(resp, job.told(), 202)
        resp.location = f"/api/v1/admin/jobs/{job.id}"

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        answer(resp, {"jobs": self._jobs.all()})

    def on_get_one(self, req: falcon.Request, resp: falcon.Response, job: str) -> None:
        answer(resp, self._jobs.one(job)[0])

    def on_post_cancel(self, req: falcon.Request, resp: falcon.Response, job: str) -> None:
        """It ends at a safe point."""
        answer(resp, self._jobs.cancel(job), 202)
