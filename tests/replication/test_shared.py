"""Daemons on one PostgreSQL, with packs on directories that all of them reach."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from urllib.parse import quote

from cli.test_backends import Daemon
from harness.postgres import PostgresServer
from harness.programs import Graviton
from harness.waiting import wait_until
from replication.test_daemon import MIB, MISSING, clean, directories, healthy, packs, targets


def test_two_daemons_write_die_and_repair(
    postgres: PostgresServer, graviton: Graviton, scratch: Path
) -> None:
    name = postgres.database().rpartition("dbname=")[2]
    url = f"jdbc:postgresql://{quote(str(postgres.home), safe='')}/{name}"
    data = scratch / "data"
    file = scratch / "graviton.conf"
    file.write_text(
        "graviton { auth.enabled = false\n"
        f'database {{ jdbc-url = "{url}", username = graviton }}\n'
        "storage.backend = directory\n"
        f"storage.targets = [{directories(scratch, 'one', 'two')}]\n"
        "replication { factor = 2, min-zones = 2, repair.interval = 1s }\n}\n"
    )
    daemons = [Daemon(graviton, file, data)]
    daemons[0].put("first", os.urandom(MIB))
    daemons.append(Daemon(graviton, file, data))
    bodies: dict[str, bytes] = {}
    for at in range(8):
        body = os.urandom(5 * MIB)
        daemons[at % 2].put(f"{at}", body)
        bodies[f"{at}"] = body
    daemons[0].running.kill()
    shutil.rmtree(scratch / "one" / "packs")
    graviton.allow_log(MISSING)
    assert {key: daemons[1].get(key) for key in bodies} == bodies
    daemons[0].restart()
    assert {key: daemons[0].get(key) for key in bodies} == bodies
    graviton.run("scrub", data, status=None, check=False)
    wait_until(lambda: healthy(targets(graviton, data)), "repair", 60)
    names = [path.name for folder in ("data", "one", "two") for path in packs(scratch / folder)]
    assert all(names.count(one) == 2 for one in names)
    clean(graviton, data)
    for daemon in daemons:
        daemon.running.stop()
