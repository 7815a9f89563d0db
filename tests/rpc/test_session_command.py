"""``graviton session``: who uses a volume, through its directory and through its daemon."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from gravitonfs.client.connection import Connection
from gravitonfs.client.endpoint import Endpoint
from gravitonfs.client.remote_namespace import RemoteNamespace
from harness.programs import Graviton
from harness.waiting import wait_until
from rpc.holding import holding
from rpc.test_serve import address


def test_who_holds_the_volume_and_its_end(graviton: Graviton, scratch: Path) -> None:
    data = scratch / "data"
    running = graviton.start("serve", "--data", data, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
    grpc = address(running.ready_line(), "grpc")
    sources = (str(data), f"graviton://{grpc}")

    def sessions(source: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(graviton.run("session", "list", source, "--json").stdout)
        return [one for one in found if one["label"] in ("holder", "other")]

    with holding(scratch / "holder", "remote", grpc) as holder:
        holder.stop()
        for source in sources:
            [row] = sessions(source)
            assert (row["volume"], row["remote"], row["holds"]) == ("main", True, True)
            shown = graviton.run("session", "list", source).stdout.decode()
            assert f"{row['number']}" in shown
            assert "holds" in shown
        connection = Connection(Endpoint((grpc,)))
        graviton.run("session", "evict", sources[1], str(row["number"]))
        started = time.monotonic()
        other = RemoteNamespace(connection, label="other", timeout=60)
        assert time.monotonic() - started < 10  # a lease lasts longer
        before = other.session
        graviton.run("session", "evict", sources[0], str(before))
        wait_until(lambda: other.session != before, "another session to take over", 60)
        assert [one["number"] for one in sessions(sources[0])] == [other.session]
        other.detach()
        connection.close()
    failed = graviton.run("session", "evict", sources[1], "4711", status=1)
    assert b"there is no session 4711" in failed.stderr
    assert running.stop() == 0
