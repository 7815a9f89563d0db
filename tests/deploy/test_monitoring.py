"""The rules by promtool, and all of it by a real Prometheus that scrapes a real daemon."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.test_backends import Daemon, address
from harness.buckets import new_bucket
from harness.ports import free_port
from harness.programs import Graviton
from harness.s3server import S3Server
from harness.waiting import wait_until

DEPLOY = Path(__file__).parents[2] / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "graviton.json"
_AWAY = "target one|is away|cannot be reached|is lost|stored with .* cop"


def promtool(*arguments: str | Path) -> str:
    done = subprocess.run(
        ["promtool", *arguments], capture_output=True, text=True, timeout=60, check=False, cwd=PROMETHEUS
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_configuration_reads_the_rules() -> None:
    assert "1 rule files found" in promtool("check", "config", "prometheus.yml")


def test_rules_do_what_their_tests_say() -> None:
    assert "SUCCESS" in promtool("test", "rules", "tests/graviton.yml")


def test_every_alert_has_a_test() -> None:
    rules = (PROMETHEUS / "rules" / "graviton.yml").read_text()
    tested = set(re.findall(r"alertname: (\w+)", (PROMETHEUS / "tests" / "graviton.yml").read_text()))
    assert set(re.findall(r"alert: (\w+)", rules)) == tested


class Prometheus:
    """With the project's own rules; only how often, and for how long, is made quick."""

    def __init__(self, home: Path, target: str) -> None:
        home.mkdir()
        text = (PROMETHEUS / "prometheus.yml").read_text()
        text = text.replace("graviton:8080", target).replace("15s", "1s").replace("rules/", f"{home}/rules-")
        (home / "prometheus.yml").write_text(text)
        rules = (PROMETHEUS / "rules" / "graviton.yml").read_text()
        (home / "rules-graviton.yml").write_text(
            re.sub(r"for: \d+m", "for: 1s", re.sub(r"\[\d+m\]", "[20s]", rules))
        )
        self.address = f"http://127.0.0.1:{free_port()}"
        self._log = home / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={home}/prometheus.yml",
                    f"--storage.tsdb.path={home}/data",
                    f"--web.listen-address={self.address.removeprefix('http://')}",
                ],
                stdout=log,
                stderr=log,
            )
        wait_until(self._ready, "Prometheus is ready", 60)

    def _ready(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()[-2000:]
        try:
            with urllib.request.urlopen(f"{self.address}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def query(self, expression: str) -> list[dict[str, Any]]:
        asked = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"{self.address}/api/v1/query?{asked}", timeout=10) as answer:
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return result

    def firing(self) -> set[str]:
        return {one["metric"]["alertname"] for one in self.query('ALERTS{alertstate="firing"}')}

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(30)


@pytest.fixture
def daemon(graviton: Graviton, scratch: Path, s3_server: S3Server) -> Daemon:
    """Three copies of everything, in two directories and a bucket."""
    file = scratch / "graviton.conf"
    bucket = f'bucket = "{new_bucket(s3_server)}", endpoint = "{s3_server.endpoint}", copies = 1, zones = 1'
    file.write_text(
        "graviton { auth.enabled = false\n"
        f'storage.targets = [{{ name = one, kind = directory, zone = z1, path = "{scratch}/one" }}\n'
        f"{{ name = cloud, kind = s3, zone = far, {bucket} }}]\n"
        "replication { factor = 3, min-zones = 2, repair.interval = 1s } }\n"
    )
    return Daemon(graviton, file, scratch / "data")


@pytest.fixture
def prometheus(daemon: Daemon, scratch: Path) -> Iterator[Prometheus]:
    target = address(daemon.ready, "http").removeprefix("http://")
    made = Prometheus(scratch / "prometheus", target)
    yield made
    made.close()


def expressions() -> Iterator[str]:
    """Of the dashboard, with its variables filled in."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", []):
            yield target["expr"].replace("$__rate_interval", "20s").replace("$job", "graviton")


@pytest.mark.soak
@pytest.mark.timeout(180)
def test_the_dashboard_shows_and_a_lost_target_is_told(
    graviton: Graviton, daemon: Daemon, prometheus: Prometheus, scratch: Path
) -> None:
    for number in range(3):
        daemon.put(f"f{number}", b"%d" % number * 100_000)
        assert daemon.get(f"f{number}")
    for expression in expressions():
        wait_until(lambda it=expression: bool(prometheus.query(it)), f"data of {expression}", 60)
    wait_until(lambda: not prometheus.firing() - {"NoDaemon"}, "nothing fires", 60)
    graviton.allow_log(_AWAY)
    (scratch / "one").rename(scratch / "elsewhere")
    wait_until(lambda: "UnhealthyReplicas" in prometheus.firing(), "the alert fires", 90)
    (scratch / "elsewhere").rename(scratch / "one")
    daemon.running.stop()
