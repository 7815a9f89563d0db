"""Writes docs/configuration.md from the declared keys: ``python -m graviton_server.cli.keys`` prints it."""

from __future__ import annotations

import sys
from typing import Any

from graviton_server.config.sections import Config, Declared, declared

PREFACE = """\
# Configuration

This page is made from the declarations of the keys (`server/graviton_server/config/sections.py`).

`graviton serve` and `graviton up --config` read a file in HOCON: `--config FILE`, else `GRAVITON_CONFIG`,
else `/etc/graviton/graviton.conf`; without one the environment and the defaults count. A flag goes before a
variable, a variable before the file, the file before the default. `${NAME}` stands for a variable that must
be set, `${?NAME}` for one that may be missing.

```sh
graviton config check FILE     # every problem at once: key, file, line, what was expected
graviton config show [FILE]    # what is in effect and where it comes from; secrets are hidden
```

**Sizes** have a unit: KB, MB, GB, TB are powers of 1000, KiB, MiB, GiB, TiB of 1024. **Durations** have one
too: ms, s, m, h, d. All keys lie below `graviton`.

**Environment.** `PG_JDBC_URL` (several hosts, `sslmode`, `targetServerType`, IPv6 and escaped characters
are understood), `PG_USERNAME`, `PG_PASSWORD`, `AWS_REGION`, `GRAVITON_S3_BUCKET`, `GRAVITON_S3_ENDPOINT`
and `GRAVITON_LOG_LEVEL` set their keys. `GRAVITON_ENV=production` logs as JSON, refuses `--insecure` and
tells clients nothing of the inside. `GRAVITON_MEMORY` is the sum of all budgets; `-Xmx` in `JAVA_OPTS` sets
it too, other flags of a JVM are named once and ignored.

**Listening.** A server that other machines can reach needs authentication: `auth.enabled = true` with
`auth.jwt`, or with tokens of `graviton token create`; or mutual TLS (`trust-cert-collection-file`), where
every client with a certificate may do everything. Without, it starts there only with `auth.enabled = false`
written out or with `--insecure`, and warns at every start.

**Tokens.** A JWT needs `iss`, `aud`, `exp` and a signature by one of `auth.jwt.algorithms` with a key of
the JWKS, which is fetched again when an unknown key shows up. Its `scope` has `graviton:read`,
`graviton:write` or `graviton:admin`; `graviton:read:photos` is for one volume, and a claim
`graviton_volumes` bounds them all. Admin includes the others.

**Where things are.** Names: in SQLite in `data-dir`, for one daemon; with `database.jdbc-url` in
PostgreSQL, for any number of them, and of mounts without a daemon (`graviton mount FILE DIR`). Packs: in
`data-dir`, or in a bucket (`storage.backend = s3`, see [packs in a bucket](s3.md)). What is missing is made
at the first start, by one of those that start together. Daemons on one PostgreSQL need one bucket, or, with
`storage.backend = directory`, one `data-dir` that they all reach; another directory is refused. Each daemon
has an `engine-<n>` of its own in `data-dir`, which is all that it has on its disk with a bucket and
PostgreSQL. A `data-dir` is never read as one of another kind: moving a volume from one kind to another is
refused. `/health/ready` answers 503 while the database is away; requests wait for it up to a minute.
Commands (`graviton info DATA` and the like) go through a daemon of that `data-dir`; on PostgreSQL, or with
a bucket, one must run. Through a PgBouncer in transaction mode `database.listen-jdbc-url` is the
direct way for notices of changes, and for a change of the schema. A wrong password or an unknown database
is told at the start at once; a server that does not answer yet is waited for, up to a minute.

**Several targets.** `storage.targets` names further places for packs beside the one of `storage.backend`;
what `replication` asks for holds among them: [copies](replication.md).

**Shards.** With `storage.backend = sharded` packs lie on other daemons: [sharding](sharding.md).

**In this version** `graviton up` refuses PostgreSQL, buckets and shards.

**Snapshots by the clock.** With `snapshots.hourly`, `daily` or `weekly` above 0, whoever serves the store (a
daemon, `up`, a mount of the file) makes one of each volume an hour, a day, a week, such as
`hourly-2026-11-25T14`, `daily-2026-11-25` and `weekly-2026-W48` (UTC, by the database's clock), one for all
daemons together, and deletes the oldest beyond the count. Those that were missed are not made up for. Others,
made by hand, are never deleted; with 0 again, what is there stays until `graviton snapshot delete`.

**Several volumes.** With `dedupe-scope = volume` a client finds, names and reads only blocks that it has
sent or that are in files of its volume; `store` lets it find those of all volumes, so that what another
volume has does not travel. On the disk a block is kept once either way.

**Several daemons** on one PostgreSQL take turns: one collects, re-chunks or digests at a time, `gc.interval`
is the rest of all together, and what a kept dump of one of them needs is collected by none. Front ends of a
daemon share one session on a volume, which ends when nobody has asked anything of it for 30 s.

**Limits.** `constraints.max-blob-size` also bounds files on mounts (`EFBIG`). Who is beyond
`max-concurrent-uploads` or the byte rate is told when to come back: 429 over HTTP, `RESOURCE_EXHAUSTED` over
gRPC, 503 over WebDAV, whose clients know no 429.

| key | default | |
| --- | --- | --- |
"""


def render() -> str:
    """The whole page."""
    return PREFACE + "".join(_rows(Config, "graviton", ""))


def _rows(cls: type, above: str, item: str) -> list[str]:
    rows: list[str] = []
    for key in declared(cls, above):
        if key.section is not None:
            rows += _rows(key.section, key.path, item)
            continue
        assert key.kind is not None
        name = key.path.removeprefix("graviton.")
        variable = f" Variable: `{key.env}`." if key.env else ""
        rows.append(f"| `{name}` | {_default(key)} | {key.doc}{variable} {_expected(key)} |\n")
        if key.kind.item is not None:
            rows += _rows(key.kind.item, f"{key.path}[]", name)
    return rows


def _default(key: Declared) -> str:
    assert key.kind is not None
    if key.default in (None, ()):
        return ""
    shown: Any = key.kind.show(key.default)
    if isinstance(shown, list):
        shown = ", ".join(shown)
    return f"`{str(shown).lower() if isinstance(shown, bool) else shown}`"


def _expected(key: Declared) -> str:
    assert key.kind is not None
    expected = key.kind.expected
    return "" if expected.startswith(("a size", "a duration", "text", "a path")) else f"({expected})"


if __name__ == "__main__":
    sys.stdout.write(render())
