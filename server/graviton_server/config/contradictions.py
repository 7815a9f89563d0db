"""What single keys cannot show: keys that contradict each other, and readings that deserve a warning."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Final

from graviton_server.config.jdbc import parse_jdbc
from graviton_server.config.sections import Config
from gravitonfs.errors import Invalid

LEAST_PART: Final = 5 << 20


class _Found:
    def __init__(self, sources: dict[str, str]) -> None:
        self._sources = sources
        self.problems: list[str] = []
        self.warnings: list[str] = []

    def problem(self, key: str, what: str) -> None:
        self.problems.append(self._placed(key, what))

    def warning(self, key: str, what: str) -> None:
        self.warnings.append(self._placed(key, what))

    def _placed(self, key: str, what: str) -> str:
        full = f"graviton.{key}"
        return f"{full} ({self._sources.get(full, 'default')}): {what}"


def contradictions(config: Config, sources: dict[str, str]) -> tuple[list[str], list[str]]:
    """Problems and warnings, a sentence each."""
    found = _Found(sources)
    _tls(config, found)
    _ports(config, found)
    _storage(config, found)
    _replication(config, found)
    _auth(config, found)
    _database(config, found)
    limit = config.constraints.rate_limit
    if limit.burst_size is not None and limit.bytes_per_second is None:
        found.problem(
            "constraints.rate-limit.burst-size", "a burst needs a rate; expected bytes-per-second too"
        )
    return found.problems, found.warnings


def _tls(config: Config, found: _Found) -> None:
    http, grpc, dav = config.server.http.tls, config.server.grpc.tls, config.webdav.tls
    for key, enabled, files in (
        ("server.http.tls", http.enabled, {"cert-file": http.cert_file, "key-file": http.key_file}),
        (
            "server.grpc.tls", grpc.enabled,
            {"cert-chain-file": grpc.cert_chain_file, "private-key-file": grpc.private_key_file},
        ),
        ("webdav.tls", dav.enabled, {"cert-file": dav.cert_file, "key-file": dav.key_file}),
    ):  # fmt: skip
        for name, value in files.items():
            if enabled and value is None:
                found.problem(f"{key}.enabled", f"TLS needs {name}; expected graviton.{key}.{name} = a path")
            elif value is not None and not enabled:
                found.warning(f"{key}.{name}", f"has no effect without graviton.{key}.enabled = true")


def _ports(config: Config, found: _Found) -> None:
    http, grpc, dav = config.server.http, config.server.grpc, config.webdav
    used = {"server.http.port": http.port, "server.grpc.port": grpc.port}
    if dav.enabled:
        used["webdav.port"] = dav.port
    if config.metrics.enabled and config.metrics.prometheus_port is not None:
        used["metrics.prometheus-port"] = config.metrics.prometheus_port
    seen: dict[int, str] = {}
    for key, port in used.items():
        if port and port in seen:
            found.problem(key, f"port {port} is that of graviton.{seen[port]} too; expected another one")
        seen.setdefault(port, key)


def _storage(config: Config, found: _Found) -> None:
    storage = config.storage
    s3 = storage.s3
    if storage.backend == "s3" and s3.bucket is None:
        found.problem(
            "storage.backend", "s3 needs a bucket; expected graviton.storage.s3.bucket or GRAVITON_S3_BUCKET"
        )
    if storage.backend == "sharded" and not storage.sharded.shards:
        found.problem("storage.backend", "sharded needs shards; expected graviton.storage.sharded.shards")
    if storage.backend != "sharded" and storage.sharded.shards:
        found.problem("storage.sharded.shards", 'shards are used by backend = "sharded" only')
    if storage.backend == "sharded" and storage.targets:
        found.problem("storage.targets", "packs lie on the shards; expected none with backend = sharded")
    if s3.multipart.part_size < LEAST_PART:
        found.warning("storage.s3.multipart.part-size", "raised to 5MiB: S3 refuses smaller parts")
    names = Counter(target.name for target in storage.targets)
    for name, count in names.items():
        if count > 1:
            found.problem(
                "storage.targets", f"{count} targets are called {name!r}; expected names of their own"
            )
    for target in storage.targets:
        needed = "path" if target.kind == "directory" else "bucket"
        if getattr(target, needed) is None:
            found.problem("storage.targets", f"target {target.name!r} of kind {target.kind} needs {needed}")
    _shards(config, found)


def _shards(config: Config, found: _Found) -> None:
    key = "storage.sharded.shards"
    shards = config.storage.sharded.shards
    for name, count in Counter(shard.name for shard in shards).items():
        if count > 1:
            found.problem(key, f"{count} shards are called {name!r}")
    for shard in shards:
        secure = shard.address.startswith("gravitons://")
        if not secure and not shard.address.startswith("graviton://"):
            found.problem(key, f"{shard.address!r} is no address; expected graviton://HOST:PORT")
        elif not secure and (shard.ca_file or shard.cert_file):
            found.problem(key, f"certificates of {shard.name!r} are for gravitons:// addresses")
        if (shard.cert_file is None) != (shard.key_file is None):
            found.problem(key, f"{shard.name!r} needs both cert-file and key-file, or none of them")


def _replication(config: Config, found: _Found) -> None:
    replication = config.replication
    if replication.min_zones > replication.factor:
        found.problem(
            "replication.min-zones",
            f"{replication.factor} copies cannot lie in {replication.min_zones} zones; expected at most"
            " graviton.replication.factor",
        )


def _auth(config: Config, found: _Found) -> None:
    jwt = config.auth.jwt
    given = {"issuer": jwt.issuer, "audience": jwt.audience, "jwks-url": jwt.jwks_url}
    if any(given.values()):
        for name, value in given.items():
            if value is None:
                found.problem(
                    f"auth.jwt.{name}", "JWTs are checked by issuer, audience and keys: expected all three"
                )
        if config.auth.enabled is False:
            found.warning("auth.enabled", "auth.jwt has no effect while this is false")


def _database(config: Config, found: _Found) -> None:
    database = config.database
    if database.jdbc_url is None:
        given = ("listen-jdbc-url", database.listen_jdbc_url), ("username", database.username)
        for name, value in (*given, ("password", database.password)):
            if value is not None:
                found.warning(
                    f"database.{name}", "has no effect without a JDBC URL: names are kept in SQLite"
                )
        return
    for name, url in (("jdbc-url", database.jdbc_url), ("listen-jdbc-url", database.listen_jdbc_url)):
        if url is None:
            continue
        try:
            connection = parse_jdbc(url)
        except Invalid as error:
            found.problem(f"database.{name}", str(error))
            continue
        if connection.ignored:
            found.warning(
                f"database.{name}",
                f"{', '.join(connection.ignored)} means something to Java alone and is ignored",
            )


def effective(config: Config) -> Config:
    """With the readings that the guide leaves to us: parts of at least 5 MiB, the backend, the burst."""
    storage = config.storage
    multipart = storage.s3.multipart
    raised = replace(multipart, part_size=max(multipart.part_size, LEAST_PART))
    backend = storage.backend or ("s3" if storage.s3.bucket else "directory")
    limit = config.constraints.rate_limit
    burst = limit.burst_size if limit.burst_size is not None else limit.bytes_per_second
    return replace(
        config,
        storage=replace(storage, backend=backend, s3=replace(storage.s3, multipart=raised)),
        constraints=replace(config.constraints, rate_limit=replace(limit, burst_size=burst)),
    )
