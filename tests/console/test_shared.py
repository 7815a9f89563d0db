"""Two daemons on one PostgreSQL, as behind a load balancer: a browser may come through either."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from console.test_resources import FILES, assert_usage_grows
from graviton_server.http_api.jobboard import Entry
from harness.postgres import PostgresServer
from harness.waiting import wait_until


@pytest.fixture
def database(postgres: PostgresServer) -> str:
    name = postgres.database().rpartition("dbname=")[2]
    url = f"jdbc:postgresql://{quote(str(postgres.home), safe='')}/{name}"
    return f'database {{ jdbc-url = "{url}", username = graviton }}'


def test_a_session_holds_at_every_daemon(database: str, daemon: Callable[..., Any]) -> None:
    text = f"graviton {{ auth.enabled = true, storage.backend = directory, {database} }}"
    one, other = daemon(text), daemon(text)
    page = one.signed_in(one.token("laptop", "--scope", "read", "--scope", "write"))
    assert page("PUT", f"{FILES}/f", b"through one").status == 201
    page.api, page.origin = other.api, other.url
    assert page("GET", f"{FILES}/f").body == b"through one"
    assert page("PUT", f"{FILES}/g", b"through the other").status == 201
    assert page("DELETE", "/api/v1/session").status == 204
    page("GET", f"{FILES}/f").problem(401, "unauthenticated")
    page.api, page.origin = one.api, one.url
    wait_until(lambda: page("GET", f"{FILES}/f").status == 401, "the session to end there, too", 30)


def test_usage_is_noted_by_one_of_them(database: str, daemon: Callable[..., Any]) -> None:
    text = f"""graviton {{ console.history-interval = 2s, storage.backend = directory, {database} }}"""
    one, other = daemon(text), daemon(text)
    assert_usage_grows(one.api)
    both = [daemon.api("GET", "/api/v1/admin/usage").json["samples"] for daemon in (one, other)]
    assert both[0] == both[1]
    figures = [{**sample, "time": 0} for sample in both[0]]
    assert all(
        figures[n] != figures[n - 1] for n in range(1, len(figures))
    )  # what says the same is not noted


def test_a_job_is_followed_and_ended_through_another_daemon(
    database: str, daemon: Callable[..., Any]
) -> None:
    text = f"graviton {{ storage.backend = directory, {database} }}"
    one, other = daemon(text), daemon(text)
    one.api("PUT", f"{FILES}/f", os.urandom(2_000_000))
    assert other.api("POST", "/api/v1/admin/volumes/main/snapshots", {"name": "s"}).status == 201
    begun = one.api("POST", "/api/v1/restores", {"path": "/f", "snapshot": "s", "to": "/g"})
    where = begun.headers["location"]
    wait_until(lambda: told(other, where).get("state") == "done", "the restore to be told as done")
    assert other.api("GET", f"{FILES}/g").status == 200
    wrong = other.api("GET", where + "?volume=nothing")
    wrong.problem(404, "not-found")

    one.api("POST", "/api/v1/admin/gc", {})
    scrub = one.api("POST", "/api/v1/admin/scrub", {"bytes_per_second": 100_000})
    where = scrub.headers["location"]
    wait_until(lambda: told(other, where).get("state") == "running", "the job to be told elsewhere")
    kinds = [job["kind"] for job in other.api("GET", "/api/v1/admin/jobs").json["jobs"]]
    assert kinds == ["restore", "gc", "scrub"]
    assert other.api("POST", f"{where}/cancel").status == 202
    wait_until(lambda: told(one, where)["state"] == "cancelled", "the job to be ended")
    wait_until(lambda: told(other, where)["state"] == "cancelled", "the end to be told")


def test_a_job_of_a_daemon_that_died_is_not_told_as_running() -> None:
    job = {"id": "0", "state": "running", "started": 1.0, "progress": {"done": 1, "total": 2, "what": ""}}
    now = time.time()
    assert Entry(job, None, now - 10).now()["state"] == "running"
    lost = Entry(job, None, now - 100).now()
    assert (lost["state"], lost["progress"]) == ("failed", None)
    assert "not been heard of" in lost["error"]


def told(daemon: Any, where: str) -> dict[str, Any]:
    found: dict[str, Any] = daemon.api("GET", where).json
    return found
