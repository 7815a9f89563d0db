"""A daemon that is killed: snapshots that were answered are there, and as they were."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.api import Api, address_in
from harness.programs import Graviton, Running
from snapshots.test_reading import SNAPSHOTS

FILES = "/api/v1/files"


@pytest.fixture
def start(graviton: Graviton, scratch: Path) -> Callable[[], tuple[Running, Api]]:
    def started() -> tuple[Running, Api]:
        addresses = ("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
        running = graviton.start("serve", "--data", scratch / "data", *addresses)
        return running, Api(address_in(running.ready_line()))

    return started


def test_what_was_answered_is_there(
    start: Callable[[], tuple[Running, Api]], graviton: Graviton, scratch: Path
) -> None:
    running, api = start()
    for round_ in range(4):
        for number in range(20):
            body = b"%d in round %d" % (number, round_)
            assert api("PUT", f"{FILES}/f{number}", body).status in (200, 201, 204)
        if round_ == 2:
            assert api("DELETE", f"{SNAPSHOTS}/s0").status == 204
        assert api("POST", SNAPSHOTS, {"name": f"s{round_}"}).status == 201
        for number in range(0, 20, 2):
            assert api("DELETE", f"{FILES}/f{number}").status == 204
        running.kill()
        api.close()
        running, api = start()
    assert [one["name"] for one in api("GET", SNAPSHOTS).json["snapshots"]] == ["s1", "s2", "s3"]
    for round_ in (1, 2, 3):
        for number in range(20):
            found = api("GET", f"{FILES}/.snapshots/s{round_}/f{number}")
            assert found.body == b"%d in round %d" % (number, round_)
    assert api("GET", f"{FILES}/f2").status == 404
    api.close()
    assert running.stop() == 0

    graviton.run("fsck", scratch / "data", "--read-data")
