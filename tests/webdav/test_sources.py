"""``graviton webdav`` of every kind of SOURCE, as a process of its own."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from gravitonfs.client import Client as Remote
from harness.api import Api
from harness.buckets import new_bucket
from harness.dav import Client, basic
from harness.issuer import AUDIENCE, ISSUER, Issuer
from harness.ports import free_port
from harness.postgres import PostgresServer
from harness.programs import Graviton, Running
from harness.s3server import S3Server
from harness.waiting import wait_until
from rpc.running import Daemon, daemon

ANY = ("--listen", "127.0.0.1:0")


def client_of(running: Running) -> Client:
    address = running.ready_line().partition("webdav=")[2].strip().rstrip("/")
    return Client(("127.0.0.1", int(address.rpartition(":")[2])))


@pytest.fixture
def there(scratch: Path) -> Iterator[Daemon]:
    folder = scratch / "daemon"
    folder.mkdir()
    with daemon(scratch / "there", folder) as running:
        yield running


def source(of: Daemon) -> str:
    return f"graviton://127.0.0.1:{of.port}/main"


def on_postgres_and_s3(scratch: Path, postgres: PostgresServer, s3_server: S3Server, more: str = "") -> Path:
    name = postgres.database().rpartition("dbname=")[2]
    url = f"jdbc:postgresql://{str(postgres.home).replace('/', '%2F')}/{name}"
    file = scratch / "store.conf"
    bucket = f'bucket = {new_bucket(s3_server)}, endpoint = "{s3_server.endpoint}"'
    file.write_text(
        f"""graviton {{ data-dir = "{scratch}/engine"
        database {{ jdbc-url = "{url}", username = graviton }}
        storage {{ backend = s3, s3 {{ {bucket} }} }}
        {more} }}"""
    )
    return file


class TestDirect:
    def test_what_one_gateway_stored_another_engine_has(
        self, graviton: Graviton, scratch: Path, postgres: PostgresServer, s3_server: S3Server
    ) -> None:
        file = on_postgres_and_s3(scratch, postgres, s3_server, "webdav.port = 0")
        one = graviton.start("webdav", file)
        dav = client_of(one)
        assert dav("PUT", "/f", b"from one gateway").status == 201
        other = graviton.start("webdav", file)
        second = client_of(other)
        assert second("GET", "/f").body == b"from one gateway"
        assert second("PUT", "/f", b"from the other").status == 204
        assert dav("GET", "/f").body == b"from the other"
        dav.close()
        second.close()
        assert one.stop() == 0
        assert other.stop() == 0

    def test_tls_users_and_another_address_of_the_file(
        self, graviton: Graviton, scratch: Path, tmp_path: Path
    ) -> None:
        authority = trustme.CA()
        issued = authority.issue_cert("127.0.0.1")
        chain, key, users = tmp_path / "chain", tmp_path / "key", scratch / "users"
        chain.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        key.write_bytes(issued.private_key_pem.bytes())
        graviton.run("passwd", users, "ann", stdin=b"her password\n")
        file = scratch / "graviton.conf"
        file.write_text(
            f"""graviton {{ data-dir = "{scratch}/data", webdav {{ host = 0.0.0.0, port = 0
            users-file = "{users}"
            tls {{ enabled = true, cert-file = "{chain}", key-file = "{key}" }} }} }}"""
        )
        running = graviton.start("webdav", file)
        address = running.ready_line().partition("webdav=")[2].strip()
        assert address.startswith("https://0.0.0.0:")
        context = ssl.create_default_context()
        authority.configure_trust(context)
        dav = Api(f"https://127.0.0.1:{address.rstrip('/').rpartition(':')[2]}", context=context)
        assert dav("PUT", "/f", b"x").status == 401
        dav.close()
        assert running.stop() == 0
        # Flags stand above the file.
        moved = graviton.start("webdav", file, *ANY)
        assert moved.ready_line().startswith("ready webdav=https://127.0.0.1:")
        assert moved.stop() == 0

    def test_the_files_keys_bound_and_pace_it(self, graviton: Graviton, scratch: Path) -> None:
        file = scratch / "graviton.conf"
        file.write_text(
            f'graviton {{ data-dir = "{scratch}/data", constraints.max-blob-size = 1MB, webdav.port = 0 }}'
        )
        running = graviton.start("webdav", file)
        dav = client_of(running)
        assert dav("PUT", "/f", bytes(1_000_001)).status == 413
        assert dav("PUT", "/f", bytes(1_000_000)).status == 201
        dav.close()
        assert running.stop() == 0


class TestRemote:
    def test_a_daemons_volume(self, graviton: Graviton, there: Daemon) -> None:
        running = graviton.start("webdav", source(there), *ANY)
        dav = client_of(running)
        data = b"by way of a daemon" * 200_000
        assert dav("PUT", "/f", data).status == 201
        with Remote(source(there), timeout=10) as remote:
            assert remote.read_bytes("f") == data
            remote.write_bytes("g", b"theirs")
            assert dav("GET", "/g").body == b"theirs"
            assert dav("PROPFIND", "/", Depth="1").status == 207
            assert dav("DELETE", "/f").status == 204
            assert not remote.exists("f")
        assert b"quota-available-bytes" in dav.propfind("/", "{DAV:}quota-available-bytes").body
        dav.close()
        assert running.stop() == 0
        assert "stopped; everything is stored" in running.log_text()

    def test_a_restart_of_the_daemon_is_a_wait(self, graviton: Graviton, there: Daemon) -> None:
        graviton.allow_log("the daemon does not answer")
        running = graviton.start("webdav", source(there), *ANY)
        dav = client_of(running)
        assert dav("PUT", "/before", b"before").status == 201
        there.kill()
        statuses: list[int] = []

        def put() -> None:
            mine = client_of(running)
            statuses.append(mine("PUT", "/meanwhile", b"meanwhile" * 100_000).status)
            mine.close()

        thread = threading.Thread(target=put)
        thread.start()
        there.start()
        thread.join(60)
        assert statuses == [201]
        assert dav("GET", "/before").body == b"before"
        assert dav("GET", "/meanwhile").body == b"meanwhile" * 100_000
        dav.close()
        assert running.stop() == 0

    def test_without_the_daemon_it_refuses_after_the_wait_and_ends_in_time(
        self, graviton: Graviton, there: Daemon
    ) -> None:
        graviton.allow_log("the daemon|does not answer|cannot be reached")
        running = graviton.start("webdav", source(there), *ANY, "-o", "timeout=1s")
        dav = client_of(running)
        assert dav("PUT", "/f", b"x").status == 201
        there.kill()
        answer = dav("GET", "/f")
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        dav.close()
        started = time.monotonic()
        assert running.stop() == 0
        assert time.monotonic() - started < 30

    def test_it_ends_in_time_while_somebody_waits_for_the_daemon(
        self, graviton: Graviton, there: Daemon
    ) -> None:
        graviton.allow_log("does not answer|the connection is closed")
        running = graviton.start("webdav", source(there), *ANY)
        dav = client_of(running)
        assert dav("PUT", "/f", b"x").status == 201
        there.kill()
        with socket.create_connection(dav.address) as waiting:
            waiting.sendall(b"GET /f HTTP/1.1\r\nHost: localhost\r\n\r\n")
            wait_until(lambda: "does not answer" in running.log_text(), "the gateway to wait", 60)
            started = time.monotonic()
            assert running.stop() == 0
            assert time.monotonic() - started < 30
        dav.close()

    def test_its_session_ends_when_nobody_uses_it(
        self, graviton: Graviton, there: Daemon, scratch: Path
    ) -> None:
        running = graviton.start("webdav", source(there), *ANY)
        dav = client_of(running)

        def labels() -> list[str]:
            listed = graviton.run("session", "list", source(there), "--json").stdout
            return [one["label"] for one in json.loads(listed) if one["label"].startswith("webdav pid")]

        assert labels() == [f"webdav pid {running.pid}"]
        wait_until(lambda: not labels(), "the session to be let go", 60)
        assert dav("PUT", "/f", b"again").status == 201
        assert labels() == [f"webdav pid {running.pid}"]
        dav.close()
        assert running.stop() == 0

    def test_read_only_and_metrics(self, graviton: Graviton, there: Daemon) -> None:
        port = free_port()
        running = graviton.start("webdav", source(there), *ANY, "-o", f"ro,metrics=127.0.0.1:{port}")
        dav = client_of(running)
        assert dav("PUT", "/f", b"x").status == 403
        assert dav("PROPFIND", "/", Depth="1").status == 207
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
            text = page.read().decode()
        assert 'graviton_request_duration_seconds_count{front_end="webdav",operation="PROPFIND"} 1.0' in text
        dav.close()
        assert running.stop() == 0

    def test_tokens_and_certificates(self, graviton: Graviton, scratch: Path, tmp_path: Path) -> None:
        authority, clients = trustme.CA(), trustme.CA()
        issued, theirs = authority.issue_cert("127.0.0.1"), clients.issue_cert("gateway@example.com")
        files = {name: tmp_path / name for name in ("ca", "clients", "chain", "key", "cert", "cert-key")}
        authority.cert_pem.write_to_path(str(files["ca"]))
        clients.cert_pem.write_to_path(str(files["clients"]))
        for one, chain, key in ((issued, "chain", "key"), (theirs, "cert", "cert-key")):
            files[chain].write_bytes(b"".join(pem.bytes() for pem in one.cert_chain_pems))
            files[key].write_bytes(one.private_key_pem.bytes())
        data = scratch / "data"
        graviton.run("init", data)
        made = graviton.run(
            "token", "create", "--name", "gateway", "--scope", "read", "--scope", "write", "--json", data
        )
        token = tmp_path / "token"
        token.write_text(json.loads(made.stdout)["token"])
        file = scratch / "graviton.conf"
        file.write_text(
            f"""graviton {{ auth.enabled = true, server.grpc.tls {{ enabled = true
            cert-chain-file = "{files["chain"]}", private-key-file = "{files["key"]}"
            trust-cert-collection-file = "{files["clients"]}" }} }}"""
        )
        serving = graviton.start(
            "serve", "--config", file, "--data", data, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"
        )
        grpc = serving.ready_line().partition("grpc=")[2].split()[0]
        where = f"gravitons://{grpc}/main"
        known = f"ca-file={files['ca']},cert-file={files['cert']},key-file={files['cert-key']}"
        for options in (f"{known},timeout=2s", f"token-file={token},timeout=2s"):
            refused = graviton.run("webdav", where, *ANY, "-o", options, status=1)
            assert b"graviton:" in refused.stderr
        running = graviton.start("webdav", where, *ANY, "-o", f"{known},token-file={token}")
        dav = client_of(running)
        assert dav("PUT", "/f", b"over mutual TLS").status == 201
        assert dav("GET", "/f").body == b"over mutual TLS"
        dav.close()
        assert running.stop() == 0
        assert serving.stop() == 0

    def test_web_tokens_are_judged_by_the_gateway_itself(
        self, graviton: Graviton, there: Daemon, scratch: Path
    ) -> None:
        with Issuer() as issuer:
            issuer.rotate("k")
            file = scratch / "gateway.conf"
            jwt = f'issuer = "{ISSUER}", audience = "{AUDIENCE}", jwks-url = "{issuer.url}"'
            file.write_text(f"graviton {{ auth.jwt {{ {jwt} }}, webdav.port = 0 }}")
            running = graviton.start("webdav", source(there), "--config", file)
            dav = client_of(running)
            assert dav("PUT", "/f", b"x").status == 401
            assert dav("PUT", "/f", b"x", Authorization="Bearer grv_000000000000_" + "x" * 43).status == 401
            reader = "Bearer " + issuer.token("k", "graviton:read")
            writer = "Bearer " + issuer.token("k")
            assert dav("PUT", "/f", b"x", Authorization=reader).status == 403
            assert dav("PUT", "/f", b"x", Authorization=writer).status == 201
            assert dav("GET", "/f", Authorization=reader).body == b"x"
            dav.close()
            assert running.stop() == 0
        file.write_text("graviton.auth.enabled = true")
        told = graviton.run("webdav", source(there), *ANY, "--config", file, status=1)
        assert b"the daemon judges no tokens" in told.stderr

    def test_app_tokens_are_judged_by_the_daemon(self, graviton: Graviton, scratch: Path) -> None:
        data, file = scratch / "data", scratch / "auth.conf"
        file.write_text("graviton.auth.enabled = true")
        graviton.run("init", data)

        def token(name: str, *scopes: str) -> str:
            chosen = [word for scope in scopes for word in ("--scope", scope)]
            made = graviton.run("token", "create", "--name", name, *chosen, "--json", data)
            return str(json.loads(made.stdout)["token"])

        (scratch / "token").write_text(token("gateway", "read", "write"))
        serving = graviton.start(
            "serve", "--config", file, "--data", data, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"
        )
        where = f"graviton://{serving.ready_line().partition('grpc=')[2].split()[0]}/main"
        running = graviton.start(
            "webdav", where, *ANY, "--config", file, "-o", f"token-file={scratch / 'token'},timeout=2s"
        )
        dav = client_of(running)
        reader, writer = (
            {"Authorization": basic("anybody", made)}
            for made in (token("reader", "read"), token("writer", "read", "write"))
        )
        unknown = "grv_000000000000_" + "x" * 43
        assert dav("PUT", "/f", b"x").status == 401
        for wrong in (unknown, unknown + "x", "grv_\n", writer["Authorization"]):
            assert dav("PUT", "/f", b"x", Authorization=basic("anybody", wrong)).status == 401
        assert dav("PUT", "/f", b"x", **writer).status == 201
        assert dav("PUT", "/f", b"y", **reader).status == 403
        assert dav("GET", "/f", **reader).body == b"x"
        graviton.run("token", "revoke", data, "writer")
        wait_until(lambda: dav("PUT", "/f", b"y", **writer).status == 401, "the token to be forgotten")
        assert dav("GET", "/f", **reader).status == 200
        assert serving.stop() == 0
        fresh = token("late", "read")
        assert dav("GET", "/f", Authorization=basic("anybody", fresh)).status == 503
        dav.close()
        assert running.stop() == 0


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (("DAEMON/inside", *ANY), b"the gateway serves the root of a volume"),
            (("DAEMON", *ANY, "-o", "subdir=x"), b"subdir: for 'graviton mount' alone"),
            (("DAEMON", *ANY, "-o", "durability=local"), b"durability: for 'graviton mount' alone"),
            (("DATA", *ANY, "-o", "ca-file=FILE"), b"ca-file: for a SOURCE of graviton:// alone"),
            (("DATA", *ANY, "-o", "timeout=5s"), b"timeout: for a SOURCE of graviton:// alone"),
            (("DATA", *ANY, "--config", "FILE"), b"graviton.storage.backend in FILE: give FILE as SOURCE"),
            (("FILE", *ANY, "--config", "FILE"), b"SOURCE is a configuration file already"),
            (("ftp://host/x", *ANY), b"ftp:// is not known"),
        ],
    )
    def test_wrong_usage(
        self, graviton: Graviton, scratch: Path, arguments: tuple[str, ...], sentence: bytes
    ) -> None:
        data, file = scratch / "data", scratch / "file"
        graviton.run("init", data)
        file.write_text(f'graviton {{ data-dir = "{data}", storage.backend = directory }}')
        stands = {"DAEMON": "graviton://127.0.0.1:1/main", "DATA": str(data), "FILE": str(file)}

        def real(text: str) -> str:
            for name, value in stands.items():
                text = text.replace(name, value)
            return text

        told = graviton.run("webdav", *map(real, arguments), status=2)
        assert sentence.replace(b"FILE", str(file).encode()) in b" ".join(told.stderr.split())

    def test_what_is_wrong_with_a_daemon_is_told_at_the_start(
        self, graviton: Graviton, there: Daemon
    ) -> None:
        told = graviton.run("webdav", f"graviton://127.0.0.1:{there.port}/nothing", *ANY, status=1)
        assert b"there is no volume 'nothing'" in told.stderr
        told = graviton.run("webdav", "graviton://127.0.0.1:1/main", *ANY, "-o", "timeout=1s", status=1)
        assert b"graviton://127.0.0.1:1: the daemon does not answer" in told.stderr

    def test_others_are_let_in_by_password_or_by_word_of_the_operator(
        self, graviton: Graviton, there: Daemon, scratch: Path
    ) -> None:
        graviton.allow_log("lets everybody in who can reach it")
        (scratch / "data").mkdir()
        file = scratch / "graviton.conf"
        file.write_text(f'graviton.data-dir = "{scratch}/data"')
        for place in (source(there), str(file)):
            told = graviton.run("webdav", place, "--listen", "0.0.0.0:0", status=1)
            assert b"give it a users file" in told.stderr
            told = graviton.run(
                "webdav", place, "--listen", "0.0.0.0:0", "--insecure", status=2, GRAVITON_ENV="production"
            )
            assert b"--insecure is refused" in told.stderr
            running = graviton.start("webdav", place, "--listen", "0.0.0.0:0", "--insecure")
            dav = client_of(running)
            assert dav("PUT", "/f", b"x").status == 201
            dav.close()
            assert running.stop() == 0


class TestSlowClients:
    @pytest.mark.parametrize("kind", ["directory", "configuration", "daemon"])
    def test_request_timeout_bounds_the_wait_for_the_next_byte(
        self, graviton: Graviton, scratch: Path, there: Daemon, kind: str
    ) -> None:
        file = scratch / "graviton.conf"
        file.write_text(
            f'graviton {{ data-dir = "{scratch}/data", server.http.request-timeout = 1s, webdav.port = 0 }}'
        )
        graviton.run("init", scratch / "data")
        arguments = {
            "directory": (scratch / "data", "--config", file),
            "configuration": (file,),
            "daemon": (source(there), "--config", file),
        }[kind]
        running = graviton.start("webdav", *arguments)
        dav = client_of(running)
        assert dav("PUT", "/f", b"old").status == 201
        with socket.create_connection(dav.address, timeout=30) as slow:
            slow.sendall(b"PUT /f HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nhalf")
            answer = b""
            while piece := slow.recv(4096):
                answer += piece
        assert answer.startswith(b"HTTP/1.1 408 ")
        dav.close()
        again = client_of(running)
        assert again("GET", "/f").body == b"old"
        again.close()
        assert running.stop() == 0
