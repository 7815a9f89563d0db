"""One process, two front ends: what WebDAV answered, the mount shows, and the other way round."""

from __future__ import annotations

import http.client
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from harness.programs import Graviton

pytestmark = pytest.mark.mount


class Both(NamedTuple):
    point: Path
    host: str

    def dav(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self.host, timeout=30)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


@pytest.fixture
def both(graviton: Graviton, scratch: Path) -> Iterator[Both]:
    point = scratch / "mnt"
    point.mkdir()
    running = graviton.start("up", "--data", scratch / "data", "--mount", point, "--webdav", "127.0.0.1:0")
    line = running.ready_line()
    address = dict(word.split("=", 1) for word in line.split()[1:])["webdav"]
    yield Both(point, address.removeprefix("http://").strip("/"))
    assert running.stop() == 0


def test_a_put_is_seen_at_once_even_where_the_kernel_knew_there_was_nothing(both: Both) -> None:
    for index in range(20):
        path = both.point / f"f{index}"
        assert not path.exists()
        assert both.dav("PUT", f"/f{index}", b"from webdav")[0] == 201
        assert path.read_bytes() == b"from webdav"
    assert sorted(os.listdir(both.point)) == sorted(f"f{index}" for index in range(20))


def test_overwriting_drops_the_kernels_pages_and_attributes(both: Both) -> None:
    path = both.point / "f"
    path.write_bytes(b"first")
    for index in range(30):
        data = b"%d" % index * (index + 1) * 500
        assert both.dav("PUT", "/f", data)[0] in (200, 201, 204)
        assert path.stat().st_size == len(data)
        assert path.read_bytes() == data
        with open(path, "wb") as file:
            file.write(b"mount %d" % index)
        assert both.dav("GET", "/f") == (200, b"mount %d" % index)


def test_an_open_file_reads_the_new_bytes_after_it_is_opened_again(both: Both) -> None:
    path = both.point / "f"
    path.write_bytes(b"a" * 100_000)
    with open(path, "rb", buffering=0) as old:
        assert old.read(10) == b"a" * 10
        both.dav("PUT", "/f", b"b" * 100_000)
        with open(path, "rb") as new:
            assert new.read() == b"b" * 100_000


def test_moves_and_deletes_are_seen(both: Both) -> None:
    (both.point / "d" / "e").mkdir(parents=True)
    (both.point / "d" / "e" / "f").write_bytes(b"x")
    assert (both.point / "d" / "e" / "f").stat().st_size == 1
    target = f"http://{both.host}/moved"
    assert both.dav("MOVE", "/d", Destination=target)[0] == 201
    assert os.listdir(both.point) == ["moved"]
    assert (both.point / "moved" / "e" / "f").read_bytes() == b"x"
    assert not (both.point / "d").exists()
    assert both.dav("DELETE", "/moved/e")[0] == 204
    assert os.listdir(both.point / "moved") == []
    assert both.dav("MKCOL", "/moved/e")[0] == 201
    assert (both.point / "moved" / "e").is_dir()
    os.rmdir(both.point / "moved" / "e")
    assert both.dav("GET", "/moved/e")[0] == 404


def test_a_file_deleted_over_webdav_stays_readable_where_it_is_open(both: Both) -> None:
    (both.point / "f").write_bytes(b"held" * 50_000)
    with open(both.point / "f", "rb", buffering=0) as held:
        assert both.dav("DELETE", "/f")[0] == 204
        assert not (both.point / "f").exists()
        assert held.read(200_000) == b"held" * 50_000


def test_both_at_once_neither_hangs_nor_loses(both: Both) -> None:
    """Kernel invalidation waits for requests under way: it must never wait for itself."""
    answers: list[int] = []

    def over_webdav() -> None:
        for index in range(60):
            answers.append(both.dav("PUT", f"/shared/w{index}", b"w" * index)[0])
            if index % 3 == 0:
                answers.append(both.dav("DELETE", f"/shared/w{index}")[0])

    (both.point / "shared").mkdir()
    thread = threading.Thread(target=over_webdav)
    thread.start()
    for index in range(300):
        name = both.point / "shared" / f"m{index}"
        name.write_bytes(b"m" * index)
        os.listdir(both.point / "shared")
        if index % 3 == 0:
            name.unlink()
    thread.join(60)
    assert not thread.is_alive()
    assert sorted(answers) == [201] * 60 + [204] * 20
    expected = {f"m{i}" for i in range(300) if i % 3} | {f"w{i}" for i in range(60) if i % 3}
    assert set(os.listdir(both.point / "shared")) == expected
    status, body = both.dav("PROPFIND", "/shared/", Depth="1")
    assert status == 207
    assert all(f"/shared/{name}<".encode() in body for name in expected)
