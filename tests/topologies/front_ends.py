"""Every way to a volume through a balancer: HTTP, WebDAV, gRPC, fsspec, a mount."""

from __future__ import annotations

import base64
import http.client
import os
import ssl
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

import fsspec

from gravitonfs.client import Client
from harness.api import Api
from harness.places import unmount
from harness.programs import Graviton, Running
from topologies.balancers import Certificates, Ports


class Dav:
    """One kept connection with TLS; ``token`` is the password."""

    def __init__(self, port: int, context: ssl.SSLContext, token: str) -> None:
        self.base = f"https://localhost:{port}"
        self._connection = http.client.HTTPSConnection("localhost", port, timeout=60, context=context)
        self._user = "Basic " + base64.b64encode(f"anybody:{token}".encode()).decode()

    def __call__(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, bytes]:
        self._connection.request(method, path, body, {"Authorization": self._user, **headers})
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def close(self) -> None:
        self._connection.close()


class FrontEnds(NamedTuple):
    graviton: Graviton
    scratch: Path
    ports: Ports
    certificates: Certificates
    token: str

    @property
    def source(self) -> str:
        return f"gravitons://localhost:{self.ports.grpc}/main"

    @property
    def token_file(self) -> Path:
        file = self.scratch / "client.token"
        if not file.exists():
            file.write_text(self.token)
            file.chmod(0o600)
        return file

    def api(self) -> Api:
        return Api(
            f"https://localhost:{self.ports.http}", token=self.token, context=self.certificates.context()
        )

    def dav(self) -> Dav:
        return Dav(self.ports.webdav, self.certificates.context(), self.token)

    def client(self) -> Client:
        return Client(self.source, token=self.token, ca_file=self.certificates.authority, timeout=60)

    def files(self) -> Any:
        return fsspec.filesystem(
            "graviton", url=self.source, token=self.token, ca_file=str(self.certificates.authority),
            skip_instance_cache=True,
        )  # fmt: skip

    def mount(self, point: Path, *options: str) -> Running:
        trust = (f"token-file={self.token_file}", f"ca-file={self.certificates.authority}")
        return self.graviton.mount(self.source, point, *trust, *options)  # type: ignore[arg-type]


def used_through_each(ends: FrontEnds, *mounted: Path) -> dict[str, bytes]:
    """Each writes a large body and a small one and sees those of all others; returns what all have written.

    ``mounted``: mounts of the same volume that are there already, beside the one through the balancer.
    """
    written: dict[str, bytes] = {}

    def bodies(way: str) -> list[tuple[str, bytes]]:
        made = [(f"{way}-large", os.urandom(5_000_000)), (f"{way}-small", way.encode())]
        written.update(made)
        return made

    point = ends.scratch / "mnt-balancer"
    with ExitStack() as stack:
        api, dav, client = ends.api(), ends.dav(), ends.client()
        for one in (api, dav, client):
            stack.enter_context(closing(one))
        files = ends.files()
        stack.callback(files.client.close)
        running = ends.mount(point)
        for name, body in bodies("http"):
            assert api("PUT", f"/api/v1/files/{name}", body).status == 201
        for name, body in bodies("dav"):
            assert dav("PUT", f"/{name}.part", body)[0] == 201
            assert dav("MOVE", f"/{name}.part", Destination=f"{dav.base}/{name}")[0] == 201
        for name, body in bodies("grpc"):
            client.write_bytes(f"/{name}", body)
        for name, body in bodies("fsspec"):
            files.pipe_file(name, body)
        for place in (point, *mounted):
            for name, body in bodies(place.name):
                (place / name).write_bytes(body)
        blob = api("POST", "/api/v1/blobs", written["http-large"]).json
        assert blob["new_bytes"] == 0
        assert client.blobs.get(blob["id"]) == written["http-large"]
        for name, body in written.items():
            assert api("GET", f"/api/v1/files/{name}").body == body
            assert dav("GET", f"/{name}") == (200, body)
            assert client.read_bytes(f"/{name}") == body
            assert files.cat_file(name) == body
            assert all((place / name).read_bytes() == body for place in (point, *mounted)), name
        status, listing = dav("PROPFIND", "/", Depth="1")
        assert status == 207
        assert all(name.encode() in listing for name in written)
        unmount(point)
        assert running.process.wait(60) == 0, running.log_text()
    return written


def refused_without_token(ends: FrontEnds) -> None:
    stranger = ends._replace(token="nobody")
    with closing(stranger.api()) as api, closing(stranger.dav()) as dav:
        assert api("GET", "/api/v1/files/").status == 401
        assert api("GET", "/health/ready").status == 200
        assert api("GET", "/metrics").status == 404
        assert dav("PROPFIND", "/", Depth="0")[0] == 401
