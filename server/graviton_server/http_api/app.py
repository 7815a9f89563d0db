"""The routes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import falcon

from graviton_server.auth.authenticator import Authenticator
from graviton_server.http_api import admin, quotas, targets, watching
from graviton_server.http_api.blobs import Blob, Blobs
from graviton_server.http_api.browsers import Browsers
from graviton_server.http_api.console import Console
from graviton_server.http_api.context import Api
from graviton_server.http_api.files import Files, Root
from graviton_server.http_api.gate import Gate
from graviton_server.http_api.health import Checks, Health, Metrics, Specification
from graviton_server.http_api.jobs import Jobs
from graviton_server.http_api.problems import Problems
from graviton_server.http_api.recovery import Recovery, Restores, Snapshots, Trash
from graviton_server.http_api.signin import Session
from graviton_server.http_api.uploads import Running, Upload, Uploads


@dataclass(frozen=True)
class Backstage:
    """What lies behind the administration, health and metrics."""

    ask: admin.Ask
    sessions: admin.Sessions
    volumes: admin.VolumeAdmin
    snapshots: admin.SnapshotAdmin
    jobs: Jobs
    checks: Checks
    metrics: Callable[[], tuple[bytes, str]]
    recovery: Recovery
    history: Callable[[], list[dict[str, Any]]]
    browsers: Browsers | None = None
    """None where nobody signs in: authentication is off, or the console is."""
    console: bool = True


def make_app(
    api: Api, backstage: Backstage, authenticator: Authenticator | None, *, local: bool
) -> falcon.App[Any, Any]:
    settings = api.settings
    gate = Gate(settings, authenticator, backstage.browsers, api.transfers.tallies, local=local)
    app: falcon.App[Any, Any] = falcon.App(middleware=[gate])
    app.req_options.keep_blank_qs_values = True
    app.req_options.auto_parse_qs_csv = False
    Problems(production=settings.production).install(app)
    _data_routes(app, api)
    _admin_routes(app, api, backstage)
    _recovery_routes(app, api, backstage)
    if backstage.console:
        Console().install(app)
        app.add_route("/api/v1/session", Session(api, backstage.browsers))
    health = Health(backstage.checks, production=settings.production)
    app.add_route("/health", health)
    app.add_route("/health/live", health, suffix="live")
    app.add_route("/health/ready", health, suffix="ready")
    app.add_route("/openapi.json", Specification())
    if settings.metrics:
        app.add_route("/metrics", Metrics(backstage.metrics))
    return app


def _data_routes(app: falcon.App[Any, Any], api: Api) -> None:
    app.add_route("/api/v1/blobs", Blobs(api))
    app.add_route("/api/v1/blobs/{blob}", Blob(api))
    app.add_route("/api/v1/files", Root(api))
    app.add_route("/api/v1/files/{path:path}", Files(api))
    running = Running()
    app.add_route("/api/v1/uploads", Uploads(api, running))
    app.add_route("/api/v1/uploads/{upload}", Upload(api, running))


def _recovery_routes(app: falcon.App[Any, Any], api: Api, backstage: Backstage) -> None:
    app.add_route("/api/v1/snapshots", Snapshots(api, backstage.snapshots))
    app.add_route("/api/v1/trash", Trash(api, backstage.recovery))
    restores = Restores(api, backstage.jobs)
    app.add_route("/api/v1/restores", restores)
    app.add_route("/api/v1/restores/{job}", restores, suffix="one")


def _admin_routes(app: falcon.App[Any, Any], api: Api, backstage: Backstage) -> None:
    status = admin.Status(backstage.ask)
    work = admin.Work(api, backstage.jobs)
    base = "/api/v1/admin"
    app.add_route(f"{base}/status", status)
    app.add_route(f"{base}/counters", status, suffix="counters")
    app.add_route(f"{base}/info", status, suffix="info")
    watched = watching.Watching(backstage.ask, backstage.history)
    app.add_route(f"{base}/work", watched, suffix="work")
    app.add_route(f"{base}/usage", watched, suffix="usage")
    app.add_route(f"{base}/sessions", admin.SessionList(backstage.sessions))
    app.add_route(f"{base}/sessions/{{session}}", admin.OneSession(api, backstage.sessions))
    app.add_route(f"{base}/volumes", admin.VolumeList(api, backstage.volumes))
    app.add_route(f"{base}/volumes/{{name}}", admin.OneVolume(api, backstage.volumes))
    snapshots = f"{base}/volumes/{{name}}/snapshots"
    app.add_route(snapshots, admin.SnapshotList(api, backstage.snapshots))
    app.add_route(f"{snapshots}/{{snapshot}}", admin.OneSnapshot(backstage.snapshots))
    listed = quotas.QuotaList(api, backstage.ask)
    app.add_route(f"{base}/volumes/{{name}}/quotas", listed)
    app.add_route(f"{base}/volumes/{{name}}/quotas/check", listed, suffix="check")
    app.add_route(f"{base}/targets", targets.TargetList(backstage.ask))
    app.add_route(f"{base}/targets/{{target}}", targets.OneTarget(api, backstage.ask))
    for kind in ("gc", "scrub", "fsck", "backup"):
        app.add_route(f"{base}/{kind}", work, suffix=kind)
    app.add_route(f"{base}/dumps", admin.DumpList(backstage.ask))
    app.add_route(f"{base}/jobs", work)
    app.add_route(f"{base}/jobs/{{job}}", work, suffix="one")
    app.add_route(f"{base}/jobs/{{job}}/cancel", work, suffix="cancel")
