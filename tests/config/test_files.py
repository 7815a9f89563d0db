"""Configuration files as operators write them: the guide's own, wrong ones, where values come from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from graviton_server.config.document import ConfigProblems
from graviton_server.config.load import Loaded, load
from graviton_server.config.sections import every_key
from graviton_server.config.show import settings
from gravitonfs.errors import NotFound

HERE = Path(__file__).parent
AWS = {"GRAVITON_S3_BUCKET": "packs", "AWS_REGION": "eu-west-1"}


def loaded(tmp_path: Path, text: str, environment: dict[str, str] | None = None, **flags: Any) -> Loaded:
    path = tmp_path / "graviton.conf"
    path.write_text(text)
    return load(str(path), environment or {}, flags.get("flags"))


def problems(tmp_path: Path, text: str, environment: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigProblems) as caught:
        loaded(tmp_path, text, environment)
    return [problem.replace(f"{tmp_path}/", "") for problem in caught.value.problems]


def test_the_guides_production_file() -> None:
    found = load(str(HERE / "guide-production.conf"), AWS)
    config = found.config
    assert (config.server.http.host, config.server.http.port) == ("0.0.0.0", 8080)
    assert (config.server.http.request_timeout, config.server.http.max_request_size) == (30.0, 10**8)
    assert (config.server.grpc.port, config.server.grpc.max_message_size) == (50051, 10**8)
    assert config.server.grpc.keepalive_time == 30.0
    assert (config.storage.backend, config.storage.s3.bucket) == ("s3", "packs")
    assert config.storage.s3.region == "eu-west-1"
    assert config.storage.s3.multipart.part_size == 5 << 20
    assert config.storage.s3.multipart.max_parts == 10_000
    assert (config.replication.factor, config.replication.min_zones) == (3, 2)
    assert config.replication.repair == type(config.replication.repair)(True, 300.0, 4)
    assert config.constraints.max_blob_size == 100 * 10**9
    assert config.constraints.max_concurrent_uploads == 100
    assert config.constraints.rate_limit.bytes_per_second == 10**8
    assert config.constraints.rate_limit.burst_size == 5 * 10**8
    assert (config.metrics.enabled, config.metrics.prometheus_port) == (True, 9090)
    assert (config.logging.level, config.logging.format) == ("INFO", "json")
    assert config.logging.correlation_id_header == "X-Request-ID"
    [warning] = found.warnings
    assert "part-size" in warning
    assert "line 25" in warning
    assert "5MiB" in warning


def test_the_guides_tls_and_jwt_files() -> None:
    tls = load(str(HERE / "guide-tls.conf"), {}).config.server
    assert tls.http.tls.enabled
    assert tls.http.tls.cert_file == "/etc/graviton/tls/cert.pem"
    assert tls.grpc.tls.trust_cert_collection_file == "/etc/graviton/tls/ca.pem"
    auth = load(str(HERE / "guide-auth.conf"), {}).config.auth
    assert auth.enabled is True
    assert auth.jwt.issuer == "https://auth.example.com"
    assert auth.jwt.jwks_url == "https://auth.example.com/.well-known/jwks.json"


def test_nothing_is_set() -> None:
    config = load(None, {}).config
    assert (config.server.http.host, config.server.http.port) == ("127.0.0.1", 8080)
    assert (config.server.grpc.host, config.server.grpc.port) == ("127.0.0.1", 50051)
    assert (config.webdav.host, config.webdav.port, config.webdav.enabled) == ("127.0.0.1", 8081, False)
    assert config.storage.backend == "directory"
    assert config.replication.factor == 1
    assert config.constraints.rate_limit.bytes_per_second is None


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    text = """graviton {
  server.http { prot = 1, port = 70000
    request-timeout = "30 parsecs"
    max-request-size = 100XB }
  server.grpc = 5
  storage.targets = [ { name = a } ]
  database.password { a = hunter2 }
  auth.jwt.algorithms = [ HS256 ]
}
gravitn { x = 1 }
"""
    found = problems(tmp_path, text)
    expected = {
        "graviton.server.http.prot (graviton.conf, line 2)": "did you mean port?",
        "graviton.server.http.port (graviton.conf, line 2)": "from 0 to 65535",
        "graviton.server.http.request-timeout (graviton.conf, line 3)": "'30 parsecs'",
        "graviton.server.http.max-request-size (graviton.conf, line 4)": "expected a size",
        "graviton.server.grpc (graviton.conf, line 5)": "expected grpc { … }",
        "graviton.storage.targets[0] (graviton.conf, line 6)": "kind is missing",
        "graviton.database.password (graviton.conf, line 7)": "expected text",
        "graviton.auth.jwt.algorithms (graviton.conf, line 8)": "'HS256'",
        "gravitn (graviton.conf, line 10)": "did you mean graviton?",
    }
    assert len(found) == len(expected)
    for place, what in expected.items():
        assert any(problem.startswith(place) and what in problem for problem in found), place
    assert "hunter2" not in "\n".join(found)


@pytest.mark.parametrize(
    ("text", "key", "what"),
    [
        ("server.http.tls.enabled = true", "server.http.tls.enabled", "cert-file"),
        ("server.grpc.tls.enabled = true", "server.grpc.tls.enabled", "cert-chain-file"),
        ("server { http.port = 9090 }, metrics.prometheus-port = 9090", "metrics.prometheus-port", "9090"),
        ("storage.backend = s3", "storage.backend", "GRAVITON_S3_BUCKET"),
        ("storage.backend = sharded", "storage.backend", "shards"),
        ("replication { factor = 2, min-zones = 3 }", "replication.min-zones", "2 copies"),
        ("auth.jwt.issuer = x", "auth.jwt.jwks-url", "all three"),
        ("constraints.rate-limit.burst-size = 1MB", "constraints.rate-limit.burst-size", "bytes-per-second"),
        ('database.jdbc-url = "postgres://x"', "database.jdbc-url", "expected jdbc:postgresql:"),
        ("server.http.request-timeout = 30", "server.http.request-timeout", "expected a duration"),
        ("server.http.request-timeout = 0s", "server.http.request-timeout", "expected a duration"),
    ],
)
def test_contradictions_and_bad_values(tmp_path: Path, text: str, key: str, what: str) -> None:
    found = problems(tmp_path, f"graviton {{\n{text}\n}}")
    assert any(f"graviton.{key} (" in problem and what in problem for problem in found), found


def test_no_hocon_at_all(tmp_path: Path) -> None:
    [found] = problems(tmp_path, "graviton {\n  server = [\n")
    assert found.startswith("graviton.conf, line ")
    [_, _] = problems(tmp_path, "graviton {\n data-dir = ${NOBODY}\n storage.s3.bucket = ${ELSE}\n}")


def test_what_has_no_value_is_named_with_its_line(tmp_path: Path) -> None:
    [found] = problems(tmp_path, "graviton {\n storage.s3.region = ${AWS_REGION}\n}")
    assert found.startswith("graviton.conf, line 2: ${AWS_REGION} has no value")


def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        load(None, {"GRAVITON_CONFIG": str(tmp_path / "none.conf")})


def test_precedence(tmp_path: Path) -> None:
    text = "graviton { logging.level = ERROR, server.http.port = 1 }"
    found = loaded(tmp_path, text, {"GRAVITON_LOG_LEVEL": "debug"}, flags={"graviton.server.http.port": 5})
    assert (found.config.logging.level, found.config.server.http.port) == ("DEBUG", 5)
    assert found.where("graviton.logging.level") == "environment variable GRAVITON_LOG_LEVEL"
    assert found.where("graviton.server.http.port") == "command line"
    assert found.where("graviton.server.http.host") == "default"
    assert loaded(tmp_path, text).where("graviton.logging.level").endswith("graviton.conf, line 1")


def test_substituted_values_are_text_and_still_read(tmp_path: Path) -> None:
    text = "graviton { server.http { port = ${PORT}, tls.enabled = ${?TLS}, request-timeout = ${T} } }"
    http = loaded(tmp_path, text, {"PORT": "81", "T": "2m"}).config.server.http
    assert (http.port, http.request_timeout, http.tls.enabled) == (81, 120.0, False)


def test_secrets_are_hidden(tmp_path: Path) -> None:
    url = "jdbc:postgresql://db/g?user=u&password=hunter2&sslmode=require"
    found = loaded(tmp_path, "", {"PG_JDBC_URL": url, "PG_PASSWORD": "hunter3"})
    shown = {key: value for key, value, _ in settings(found)}
    assert "hunter" not in json.dumps(shown)
    assert shown["graviton.database.password"] == "***"
    assert shown["graviton.database.jdbc-url"] == url.replace("hunter2", "***")


def test_every_key_is_described_and_shown() -> None:
    keys = every_key()
    assert all(key.doc for key in keys)
    assert {key.path for key in keys} == {path for path, _, _ in settings(load(None, {}))}


def test_memory_and_java() -> None:
    found = load(None, {"JAVA_OPTS": "-Xmx4g -Xms2g -XX:+UseG1GC", "GRAVITON_ENV": "production"})
    assert (found.surroundings.memory, found.surroundings.production) == (4 << 30, True)
    [warning] = found.warnings
    assert "-Xms2g -XX:+UseG1GC" in warning
    assert "-Xmx" not in warning
    assert load(None, {"JAVA_OPTS": "-Xmx4g", "GRAVITON_MEMORY": "1GiB"}).surroundings.memory == 1 << 30
    with pytest.raises(ConfigProblems, match="GRAVITON_MEMORY"):
        load(None, {"GRAVITON_MEMORY": "lots"})
