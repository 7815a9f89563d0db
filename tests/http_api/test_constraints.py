"""graviton.constraints on every front end: how large, how many at once, how fast."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gravitonfs.client import Client
from gravitonfs.errors import FileTooLarge
from harness.api import Api, address_in
from harness.programs import Graviton

LIMIT = 1_000_000
SMALL = f"graviton {{ constraints.max-blob-size = {LIMIT}, webdav {{ enabled = true, port = 0 }} }}"


@pytest.fixture
def dav(daemon: Callable[..., Any]) -> Iterator[Callable[[str], Api]]:
    made: list[Api] = []

    def start(config: str) -> Api:
        made.append(Api(address_in(daemon(config).ready, "webdav")))
        return made[-1]

    yield start
    for one in made:
        one.close()


def chunks(size: int) -> Iterator[bytes]:
    """Without a length that could be looked at before."""
    for _ in range(0, size, 100_000):
        yield os.urandom(100_000)


def test_the_largest_file_on_http_webdav_and_grpc(daemon: Callable[..., Any]) -> None:
    one = daemon(SMALL)
    dav = Api(address_in(one.ready, "webdav"))
    body = os.urandom(LIMIT)
    assert one.api("PUT", "/api/v1/files/f", body).status == 201
    one.api("PUT", "/api/v1/files/f", body + b"x").problem(413, "file-too-large")
    one.api("PUT", "/api/v1/files/f", chunks(LIMIT + 100_000)).problem(413, "file-too-large")
    one.api("POST", "/api/v1/blobs", body + b"x").problem(413, "file-too-large")
    assert dav("PUT", "/g", body).status == 201
    assert dav("PUT", "/g", body + b"x").status == 413
    assert dav("PUT", "/g", chunks(LIMIT + 100_000)).status == 413
    assert dav("GET", "/g").body == body, "what was there before stays"
    with Client(f"graviton://{address_in(one.ready, 'grpc')}") as client:
        client.blobs.put(body)
        with pytest.raises(FileTooLarge):
            client.blobs.put(body + b"x")
        with pytest.raises(FileTooLarge):
            client.write_bytes("h", body + b"x")
        client.write_bytes("h", body)
    dav.close()


def too_large(path: Path, size: int) -> None:
    """As programs find it out."""
    done = subprocess.run(["truncate", "-s", str(size), path], capture_output=True, check=False, text=True)
    assert done.returncode == 1
    assert "File too large" in done.stderr
    with path.open("r+b") as file:
        file.seek(size - 1)
        with pytest.raises(OSError, match="File too large"):
            os.write(file.fileno(), b"x")


@pytest.mark.mount
@pytest.mark.parametrize("kind", ["remote", "direct"])
def test_the_largest_file_on_a_mount(
    kind: str, daemon: Callable[..., Any], graviton: Graviton, scratch: Path
) -> None:
    mountpoint = scratch / "mount"
    mountpoint.mkdir()
    if kind == "remote":
        source: Any = f"graviton://{address_in(daemon(SMALL).ready, 'grpc')}/main"
    else:
        source = scratch / "direct.conf"
        source.write_text(f"{SMALL}\ngraviton.data-dir = {scratch / 'direct'}\n")
    running = graviton.start("mount", "-f", source, mountpoint)
    running.ready_line()
    file = mountpoint / "f"
    file.write_bytes(os.urandom(LIMIT))
    too_large(file, LIMIT + 1)
    too_large(file, LIMIT * 1000)
    assert file.stat().st_size == LIMIT
    with file.open("ab") as end, pytest.raises(OSError, match="File too large"):
        os.write(end.fileno(), b"x")
    assert running.stop() == 0


def test_a_smaller_limit_leaves_what_is_there(daemon: Callable[..., Any]) -> None:
    one = daemon("graviton.webdav { enabled = true, port = 0 }")
    body = os.urandom(3 * LIMIT)
    assert one.api("PUT", "/api/v1/files/f", body).status == 201
    one.file.write_text(SMALL)
    one.restart(kill=True)
    assert one.api("GET", "/api/v1/files/f").body == body
    one.api("PUT", "/api/v1/files/g", body).problem(413, "file-too-large")
    assert one.api("PUT", "/api/v1/files/f", body[:LIMIT]).status == 200


def test_uploads_at_a_time_over_webdav(dav: Callable[[str], Api]) -> None:
    """All front ends count together; WebDAV clients are told to come back in the way they know."""
    api = dav("graviton { constraints.max-concurrent-uploads = 1, webdav { enabled = true, port = 0 } }")
    begun, go_on = threading.Event(), threading.Event()
    other = Api(f"http://{api.host}:{api.port}")

    def slow() -> Iterator[bytes]:
        for _ in range(32):  # more than the sockets hold: it is being stored when this has been sent
            yield os.urandom(1 << 20)
        begun.set()
        assert go_on.wait(60)
        yield b"end"

    statuses: list[int] = []
    thread = threading.Thread(target=lambda: statuses.append(other("PUT", "/slow", slow()).status))
    thread.start()
    try:
        assert begun.wait(60)
        refused = api("PUT", "/f", b"x")
        assert refused.status == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert api("GET", "/").status == 200, "reading goes on"
    finally:
        go_on.set()
        thread.join()
    assert statuses == [201]
    assert api("PUT", "/f", b"x").status in (201, 204)
    other.close()


def test_the_byte_rate_paces_webdav(dav: Callable[[str], Api]) -> None:
    api = dav(
        "graviton { constraints.rate-limit { bytes-per-second = 2MB, burst-size = 1MB },"
        " webdav { enabled = true, port = 0 } }"
    )
    body = os.urandom(4_000_000)
    started = time.monotonic()
    assert api("PUT", "/f", body).status == 201
    assert time.monotonic() - started > 1.2, "3 MB beyond the burst, at 2 MB a second"
    started = time.monotonic()
    assert api("GET", "/f").body == body
    assert time.monotonic() - started > 1.2


def test_webdav_is_refused_when_the_rate_would_take_longer_than_a_request(dav: Callable[[str], Api]) -> None:
    api = dav(
        "graviton { constraints.rate-limit { bytes-per-second = 100KB, burst-size = 100KB },"
        " server.http.request-timeout = 2s, webdav { enabled = true, port = 0 } }"
    )
    clients = [Api(f"http://{api.host}:{api.port}") for _ in range(8)]
    answers: list[Any] = []

    def put(client: Api, number: int) -> None:
        answers.append(client("PUT", f"/f{number}", os.urandom(200_000)))

    threads = [threading.Thread(target=put, args=(one, number)) for number, one in enumerate(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = [answer for answer in answers if answer.status == 503]
    assert refused
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert {answer.status for answer in answers} <= {201, 503}
    for one in clients:
        one.close()
