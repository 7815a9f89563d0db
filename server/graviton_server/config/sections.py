"""Every key of the configuration, declared once: its place, kind, default, variable and meaning.

A field ``part_size`` of ``S3`` below ``Storage`` is the key ``graviton.storage.s3.part-size``. None means
that nothing is set.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, NamedTuple, get_type_hints

from graviton_server.config import kinds
from graviton_server.config.kinds import Kind

MB = 10**6
GB = 10**9
ROOT = "graviton"
_ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
)  # fmt: skip


def _key(kind: Kind, default: Any, doc: str, *, env: str | None = None, secret: bool = False) -> Any:
    return field(default=default, metadata={"kind": kind, "doc": doc, "env": env, "secret": secret})


def _section(cls: type) -> Any:
    return field(default_factory=cls, metadata={"section": cls})


@dataclass(frozen=True)
class Tls:
    enabled: bool = _key(kinds.BOOL, False, "Serve TLS only.")
    cert_file: str | None = _key(
        kinds.PATH, None, "The certificate with its chain, PEM; read again when it changes."
    )
    key_file: str | None = _key(kinds.PATH, None, "Its private key, PEM.")
    trust_cert_collection_file: str | None = _key(
        kinds.PATH, None, "Authorities of client certificates; with it every client needs one."
    )


@dataclass(frozen=True)
class GrpcTls:
    enabled: bool = _key(kinds.BOOL, False, "Serve TLS only.")
    cert_chain_file: str | None = _key(kinds.PATH, None, "The certificate with its chain, PEM.")
    private_key_file: str | None = _key(kinds.PATH, None, "Its private key, PEM.")
    trust_cert_collection_file: str | None = _key(
        kinds.PATH, None, "Authorities of client certificates; with it every client needs one."
    )


@dataclass(frozen=True)
class PlainTls:
    enabled: bool = _key(kinds.BOOL, False, "Serve TLS only.")
    cert_file: str | None = _key(kinds.PATH, None, "The certificate with its chain, PEM.")
    key_file: str | None = _key(kinds.PATH, None, "Its private key, PEM.")


@dataclass(frozen=True)
class Http:
    host: str = _key(kinds.HOST, "127.0.0.1", "Where HTTP listens.")
    port: int = _key(kinds.PORT, 8080, "0 takes any that is free.")
    request_timeout: float = _key(
        kinds.DURATION, 30.0, "The longest wait for a client's next byte, and for the byte rate."
    )
    max_request_size: int = _key(
        kinds.SIZE, 100 * MB, "Of bodies that are buffered and of each part of a resumable upload."
    )
    tls: Tls = _section(Tls)


@dataclass(frozen=True)
class Grpc:
    host: str = _key(kinds.HOST, "127.0.0.1", "Where gRPC listens.")
    port: int = _key(kinds.PORT, 50051, "0 takes any that is free.")
    max_message_size: int = _key(kinds.SIZE, 100 * MB, "Of one message, in either direction.")
    keepalive_time: float = _key(kinds.DURATION, 30.0, "An idle connection is probed this often.")
    tls: GrpcTls = _section(GrpcTls)


@dataclass(frozen=True)
class Server:
    http: Http = _section(Http)
    grpc: Grpc = _section(Grpc)


@dataclass(frozen=True)
class Multipart:
    part_size: int = _key(kinds.SIZE, 8 << 20, "Of a multipart upload; under 5MiB it is raised to that.")
    max_parts: int = _key(kinds.number(1, 10_000), 10_000, "A pack never exceeds part-size times this.")


@dataclass(frozen=True)
class S3:
    bucket: str | None = _key(kinds.TEXT, None, "The bucket of packs.", env="GRAVITON_S3_BUCKET")
    region: str | None = _key(kinds.TEXT, None, "The bucket's region.", env="AWS_REGION")
    endpoint: str | None = _key(kinds.URL, None, "Of an S3-compatible store.", env="GRAVITON_S3_ENDPOINT")
    path_style: bool | None = _key(
        kinds.BOOL, None, "The bucket in the path instead of the host name; default: with an endpoint."
    )
    sse: str | None = _key(kinds.TEXT, None, "Server-side encryption: AES256, aws:kms or aws:kms:<key id>.")
    storage_class: str | None = _key(kinds.TEXT, None, "The class of new objects, such as STANDARD_IA.")
    ca_file: str | None = _key(
        kinds.PATH, None, "Authorities that the store's certificate is checked against."
    )
    multipart: Multipart = _section(Multipart)


@dataclass(frozen=True)
class Target:
    name: str = _key(kinds.TEXT, None, "What commands call it.")
    kind: str = _key(kinds.choice("directory", "s3"), None, "directory or s3.")
    zone: str = _key(kinds.TEXT, "default", "Copies are spread over zones.")
    path: str | None = _key(kinds.PATH, None, "Of a directory.")
    bucket: str | None = _key(kinds.TEXT, None, "Of an S3 target.")
    region: str | None = _key(kinds.TEXT, None, "Of an S3 target.")
    endpoint: str | None = _key(kinds.URL, None, "Of an S3 target.")
    profile: str | None = _key(kinds.TEXT, None, "Of the AWS SDK: whose credentials an S3 target takes.")
    weight: float | None = _key(kinds.WEIGHT, None, "Its share of the packs, against others'; default 1.")
    copies: int | None = _key(kinds.number(1, 16), None, "Copies it keeps by itself; directory 1, s3 3.")
    zones: int | None = _key(kinds.number(1, 16), None, "In so many zones; directory 1, s3 3.")
    capacity: int | None = _key(kinds.SIZE, None, "What it may hold.")


@dataclass(frozen=True)
class Shard:
    name: str = _key(kinds.TEXT, None, "Places packs, so it never changes.")
    address: str = _key(kinds.TEXT, None, "graviton://HOST:PORT or gravitons://HOST:PORT.")
    token_file: str | None = _key(kinds.PATH, None, "Has the token that the router sends.")
    ca_file: str | None = _key(kinds.PATH, None, "Authorities that its certificate is checked against.")
    cert_file: str | None = _key(kinds.PATH, None, "The router's certificate.")
    key_file: str | None = _key(kinds.PATH, None, "The key of that.")
    zone: str | None = _key(kinds.TEXT, None, "Copies are spread over zones.")
    weight: float | None = _key(kinds.WEIGHT, None, "Its share of the packs, against others'; default 1.")
    copies: int | None = _key(kinds.number(1, 16), None, "Copies it keeps by itself; default 1.")
    zones: int | None = _key(kinds.number(1, 16), None, "In so many zones; default 1.")


@dataclass(frozen=True)
class Sharded:
    shards: tuple[Shard, ...] = _key(
        kinds.sections(Shard, "a list of { name, address, token-file }"), (), "The daemons that hold blocks."
    )


@dataclass(frozen=True)
class Storage:
    backend: str | None = _key(
        kinds.choice("directory", "s3", "sharded"), None, "Default: s3 with a bucket, else directory."
    )
    s3: S3 = _section(S3)
    targets: tuple[Target, ...] = _key(
        kinds.sections(Target, "a list of { name, kind, zone, … }"), (), "Further places for packs."
    )
    sharded: Sharded = _section(Sharded)


@dataclass(frozen=True)
class Repair:
    enabled: bool = _key(kinds.BOOL, True, "Missing copies are made again.")
    interval: float = _key(kinds.DURATION, 300.0, "How often is looked for work.")
    parallel_jobs: int = _key(kinds.number(1, 256), 4, "Copies made at once.")


@dataclass(frozen=True)
class Replication:
    factor: int = _key(
        kinds.number(1, 16), 1, "Copies of each pack, those a target keeps by itself included."
    )
    strategy: str = _key(kinds.choice("zone-aware", "simple"), "zone-aware", "How targets are chosen.")
    min_zones: int = _key(kinds.number(1, 16), 1, "Zones that the copies lie in, at least.")
    move_bytes_per_second: int = _key(
        kinds.SIZE, 50 * MB, "How fast packs move when targets are added or drained."
    )
    repair: Repair = _section(Repair)


@dataclass(frozen=True)
class RateLimit:
    bytes_per_second: int | None = _key(kinds.SIZE, None, "Of all bodies together, each way; none: no limit.")
    burst_size: int | None = _key(
        kinds.SIZE, None, "What may go at once after a pause; default: a second's worth."
    )


@dataclass(frozen=True)
class Constraints:
    max_blob_size: int = _key(kinds.SIZE, 100 * GB, "Of blobs, files and WebDAV PUTs.")
    max_concurrent_uploads: int = _key(
        kinds.number(1, 100_000), 100, "Uploads that have begun and not ended."
    )
    rate_limit: RateLimit = _section(RateLimit)


@dataclass(frozen=True)
class Metrics:
    enabled: bool = _key(kinds.BOOL, True, "Serve /metrics.")
    prometheus_port: int | None = _key(kinds.PORT, None, "A port of its own for /metrics, plain HTTP.")


@dataclass(frozen=True)
class Logging:
    level: str = _key(
        kinds.choice("DEBUG", "INFO", "WARN", "WARNING", "ERROR"),
        "INFO",
        "What is logged.",
        env="GRAVITON_LOG_LEVEL",
    )
    format: str | None = _key(kinds.choice("text", "json"), None, "Default: text; json in production.")
    correlation_id_header: str = _key(kinds.HEADER, "X-Request-ID", "Carries a request's id in and out.")


@dataclass(frozen=True)
class Jwt:
    issuer: str | None = _key(kinds.TEXT, None, "The token's iss.")
    audience: str | None = _key(kinds.TEXT, None, "The token's aud.")
    jwks_url: str | None = _key(kinds.URL, None, "Where the issuer's public keys are.")
    algorithms: tuple[str, ...] = _key(
        kinds.several(kinds.choice(*_ALGORITHMS)),
        ("RS256", "PS256", "ES256", "EdDSA"), "Signatures that are accepted.",
    )  # fmt: skip


@dataclass(frozen=True)
class Auth:
    enabled: bool | None = _key(
        kinds.BOOL,
        None,
        "Default: true with auth.jwt. false must be written out to listen for other machines.",
    )
    jwt: Jwt = _section(Jwt)


@dataclass(frozen=True)
class Database:
    jdbc_url: str | None = _key(
        kinds.TEXT, None, "jdbc:postgresql://host[:port][,host…]/name[?…]; none: SQLite in data-dir.",
        env="PG_JDBC_URL", secret=True,
    )  # fmt: skip
    listen_jdbc_url: str | None = _key(
        kinds.TEXT, None, "The way past a PgBouncer in transaction mode, for LISTEN; default: jdbc-url.",
        env="PG_LISTEN_JDBC_URL", secret=True,
    )  # fmt: skip
    username: str | None = _key(kinds.TEXT, None, "PostgreSQL's user.", env="PG_USERNAME")
    password: str | None = _key(kinds.TEXT, None, "Its password.", env="PG_PASSWORD", secret=True)
    pool_size: int = _key(kinds.number(1, 1000), 10, "Connections of one daemon.")


@dataclass(frozen=True)
class WebDav:
    enabled: bool = _key(kinds.BOOL, False, "Serve WebDAV.")
    host: str = _key(kinds.HOST, "127.0.0.1", "Where WebDAV listens.")
    port: int = _key(kinds.PORT, 8081, "0 takes any that is free.")
    users_file: str | None = _key(kinds.PATH, None, "Users and hashed passwords (`graviton passwd`).")
    tls: PlainTls = _section(PlainTls)


@dataclass(frozen=True)
class Gc:
    interval: float = _key(
        kinds.DURATION, 3600.0, "Between two collections, at least; embedded 15s unless set."
    )
    grace: float | None = _key(
        kinds.DURATION_OR_ZERO,
        None,
        "A pack nobody needs is kept so long; default 1h, 0 where one process owns the volume.",
    )
    keep: float | None = _key(kinds.DURATION_OR_ZERO, None, "Packs younger than this are left alone.")


@dataclass(frozen=True)
class Scrub:
    bytes_per_second: int | None = _key(kinds.SIZE, None, "How fast background work reads packs again.")


@dataclass(frozen=True)
class Trash:
    days: int = _key(
        kinds.number(0, 36500), 1, "How long what was removed stays in the trash; 0: none is kept."
    )
    min_age: float = _key(
        kinds.DURATION_OR_ZERO, 10.0, "What was made less than so long before it is removed is not kept."
    )


@dataclass(frozen=True)
class Snapshots:
    hourly: int = _key(kinds.number(0, 10_000), 0, "How many are kept; 0: none are made.")
    daily: int = _key(kinds.number(0, 10_000), 0, "How many are kept; 0: none are made.")
    weekly: int = _key(kinds.number(0, 10_000), 0, "How many are kept; 0: none are made.")


@dataclass(frozen=True)
class Backup:
    interval: float = _key(
        kinds.DURATION_OR_ZERO,
        86400.0,
        "How often all names are dumped to the targets; 0: never by itself.",
    )
    keep: int = _key(kinds.number(1, 10_000), 7, "How many of these dumps stay; what they need is kept.")


@dataclass(frozen=True)
class Console:
    enabled: bool = _key(kinds.BOOL, True, "Serve the page at /console/ on the HTTP port.")
    session_lifetime: float = _key(
        kinds.DURATION, 43200.0, "How long a browser stays signed in; never longer than its token lasts."
    )
    history_interval: float = _key(
        kinds.DURATION_OR_ZERO, 600.0, "How often the usage that is shown over time is noted; 0: never."
    )


@dataclass(frozen=True)
class Config:
    data_dir: str = _key(
        kinds.PATH, "/var/lib/graviton", "The engine's directory: index, local packs, SQLite."
    )
    dedupe_scope: str = _key(kinds.choice("volume", "store"), "volume", "Whose blocks a client may find.")
    server: Server = _section(Server)
    storage: Storage = _section(Storage)
    database: Database = _section(Database)
    replication: Replication = _section(Replication)
    constraints: Constraints = _section(Constraints)
    auth: Auth = _section(Auth)
    webdav: WebDav = _section(WebDav)
    metrics: Metrics = _section(Metrics)
    logging: Logging = _section(Logging)
    gc: Gc = _section(Gc)
    scrub: Scrub = _section(Scrub)
    trash: Trash = _section(Trash)
    snapshots: Snapshots = _section(Snapshots)
    backup: Backup = _section(Backup)
    console: Console = _section(Console)


class Declared(NamedTuple):
    """One key, as its declaration has it; ``section`` instead of ``kind`` where it is a section."""

    path: str
    attribute: str
    kind: Kind | None
    default: Any
    doc: str
    env: str | None
    secret: bool
    section: type | None


def declared(cls: type, above: str = ROOT) -> list[Declared]:
    """The keys directly in a section."""
    assert is_dataclass(cls)
    found = []
    for one in fields(cls):
        meta = one.metadata
        found.append(
            Declared(
                f"{above}.{one.name.replace('_', '-')}",
                one.name,
                meta.get("kind"),
                one.default,
                meta.get("doc", ""),
                meta.get("env"),
                meta.get("secret", False),
                meta.get("section"),
            )
        )
    return found


def every_key(cls: type = Config, above: str = ROOT) -> list[Declared]:
    """All keys with values, in the order of their declaration."""
    found: list[Declared] = []
    for key in declared(cls, above):
        found += [key] if key.section is None else every_key(key.section, key.path)
    return found


def required(cls: type, attribute: str) -> bool:
    """Text that may not be None must be given."""
    hint = get_type_hints(cls)[attribute]
    default = next(one.default for one in fields(cls) if one.name == attribute)
    return default is None and hint in (str, int, float, bool)
