"""What an operator sees of a daemon, whichever way requests come: ids in logs, few labels, health."""

from __future__ import annotations

import json
import os
import re
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from gravitonfs.client import Client
from gravitonfs.rpc.graviton.v1 import blobs_pb2
from harness.api import Api, address_in, blob_id
from harness.ports import free_port
from harness.waiting import wait_until

EVERY = "webdav { enabled = true, port = 0 }, logging.format = json"


class Seen:
    """A daemon with all front ends, and what it logs."""

    def __init__(self, daemon: Callable[..., Any], more: str = "") -> None:
        self.one = daemon(f"graviton {{ {EVERY}\n{more} }}")
        self.api = self.one.api
        self.dav = Api(address_in(self.one.ready, "webdav"))
        self.grpc = address_in(self.one.ready, "grpc")

    def entry(self, number: str) -> dict[str, Any]:
        def found() -> Any:
            lines = self.one.running.log_text().splitlines()
            entries = [json.loads(line) for line in lines if line.startswith("{")]
            return next((entry for entry in entries if entry.get("request_id") == number), None)

        entry: dict[str, Any] = wait_until(found, f"a log entry of {number}", 10)
        return entry

    def stat(self, blob: str, **metadata: str) -> tuple[Any, dict[str, Any]]:
        """Status and trailing metadata."""
        with grpc.insecure_channel(self.grpc) as channel:
            method = channel.unary_unary(
                "/graviton.v1.BlobService/Stat",
                blobs_pb2.StatBlobRequest.SerializeToString,
                blobs_pb2.BlobInfo.FromString,
            )
            sent = [(name.replace("_", "-"), value) for name, value in metadata.items()]
            try:
                _, call = method.with_call(blobs_pb2.StatBlobRequest(id=blob), metadata=sent, timeout=10)
            except grpc.RpcError as error:
                return error.code(), dict(error.trailing_metadata())
            return call.code(), dict(call.trailing_metadata())


@pytest.fixture
def seen(daemon: Callable[..., Any]) -> Iterator[Seen]:
    made = Seen(daemon)
    yield made
    made.dav.close()


def test_a_requests_id_goes_through_every_front_end(seen: Seen) -> None:
    blob = blob_id(b"x")
    assert (
        seen.api("POST", "/api/v1/blobs", b"x", X_Request_ID="by-http").headers["x-request-id"] == "by-http"
    )
    assert seen.dav("PUT", "/f", b"x", X_Request_ID="by-webdav").headers["x-request-id"] == "by-webdav"
    code, trailer = seen.stat(blob, x_request_id="by-grpc")
    assert (code, trailer["x-request-id"]) == (grpc.StatusCode.OK, "by-grpc")
    code, trailer = seen.stat(blob_id(b"none"), x_request_id="by-grpc-too")
    assert (code, trailer["x-request-id"]) == (grpc.StatusCode.NOT_FOUND, "by-grpc-too")
    http, webdav, rpc = (seen.entry(number) for number in ("by-http", "by-webdav", "by-grpc"))
    assert (http["method"], http["path"], http["status"]) == ("POST", "/api/v1/blobs", 201)
    assert (webdav["method"], webdav["path"], webdav["status"]) == ("PUT", "/f", 201)
    assert (rpc["method"], rpc["status"]) == ("BlobService.Stat", "ok")
    assert seen.entry("by-grpc-too")["status"] == "not-found"
    for entry in (http, webdav, rpc):
        assert entry["level"] == "info"
        assert entry["seconds"] >= 0
        assert entry["remote"]


def test_an_id_that_could_break_a_log_is_replaced(seen: Seen) -> None:
    for headers in (
        seen.api("GET", "/api/v1/blobs", X_Request_ID='a"b').headers,
        seen.dav("GET", "/", X_Request_ID='a"b').headers,
        seen.stat(blob_id(b"x"), x_request_id='a"b')[1],
    ):
        assert re.fullmatch("[0-9a-f]{32}", headers["x-request-id"])


def test_the_header_has_the_name_that_was_chosen(daemon: Callable[..., Any]) -> None:
    seen = Seen(daemon, 'logging.correlation-id-header = "X-Trace"')
    assert seen.api("GET", "/api/v1/blobs", X_Trace="one").headers["x-trace"] == "one"
    assert seen.dav("GET", "/", X_Trace="two").headers["x-trace"] == "two"
    assert seen.stat(blob_id(b"x"), x_trace="three")[1]["x-trace"] == "three"
    assert seen.entry("three")["method"] == "BlobService.Stat"
    seen.dav.close()


def test_labels_stay_few_whatever_clients_ask_for(daemon: Callable[..., Any]) -> None:
    port = free_port()
    seen = Seen(daemon, f"metrics.prometheus-port = {port}")

    def page() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            return str(answer.read().decode())

    def use(name: str) -> None:
        seen.api("PUT", f"/api/v1/files/{name}", b"x")
        seen.api("GET", f"/api/v1/files/{name}?volume={name}")
        seen.api("GET", f"/no/{name}")
        seen.api("BREW" + name.upper(), "/")
        seen.dav("PUT", f"/{name}", b"x")
        seen.dav("BREW" + name.upper(), "/")
        seen.stat(blob_id(name.encode()))
        with Client(f"graviton://{seen.grpc}", timeout=10) as client:
            client.write_bytes(name, os.urandom(100))

    def series() -> set[str]:
        return {line.rpartition(" ")[0] for line in page().splitlines() if not line.startswith("#")}

    use("first")
    before = series()
    for name in ("second", "third", "fourth"):
        use(name)
    assert series() - before == set()
    names = {label for line in before for label in re.findall(r'[{,]([a-z_]+)="', line)}
    assert names <= {"front_end", "operation", "class", "target", "le", "kind", "version", "state"}
    text = seen.api("GET", "/metrics").body.decode()
    for metric in (
        "graviton_uploads_total", "graviton_downloads_total", "graviton_errors_total",
        "graviton_request_duration_seconds_bucket", "graviton_storage_bytes", "graviton_storage_capacity",
        "graviton_replicas_unhealthy",
    ):  # fmt: skip
        assert re.search(rf"^{metric}(\{{| )", text, re.M), f"{metric} on the HTTP port"
        assert re.search(rf"^{metric}(\{{| )", page(), re.M), f"{metric} on the port of its own"
    seen.dav.close()


def test_clients_mistakes_are_no_errors_of_the_server(seen: Seen) -> None:
    seen.api("GET", "/api/v1/files/none")
    seen.dav("GET", "/none")
    seen.dav("PROPFIND", "/", b"<not xml")
    seen.stat("nonsense")
    text = seen.api("GET", "/metrics").body.decode()
    errors = re.findall(r"^graviton_errors_total\{.*\} ([0-9.]+)$", text, re.M)
    assert errors, "there is a zero to rise from"
    assert {float(value) for value in errors} == {0.0}


def test_liveness_and_readiness_ask_for_no_token(daemon: Callable[..., Any]) -> None:
    seen = Seen(daemon, "auth.enabled = true")
    assert seen.api("GET", "/api/v1/blobs").status == 401
    for path in ("/health", "/health/live", "/health/ready", "/metrics"):
        assert seen.api("GET", path).status == 200, path
    assert seen.api("GET", "/health").json["status"] == "ok"
    seen.dav.close()
