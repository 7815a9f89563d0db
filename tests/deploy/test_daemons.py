"""Daemons as the manifests lay them out: the ConfigMap's configuration, one volume for all of them."""

from __future__ import annotations

import http.client
import os
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest

from cli.test_backends import address
from deploy.manifests import built, named
from harness.api import Answer, Api
from harness.postgres import PostgresServer
from harness.programs import Graviton, Running
from harness.waiting import wait_until

WRITERS = 4


class Deployment:
    """Pods, of which each has the volume at ``data`` and asks for a free engine below it."""

    def __init__(self, graviton: Graviton, scratch: Path, postgres: PostgresServer) -> None:
        self._graviton = graviton
        self.data = scratch / "volume"
        self.data.mkdir()
        (self.data / "lost+found").mkdir()  # as on a new ext4
        config = next(one for one in built("base") if one["kind"] == "ConfigMap")
        self._file = scratch / "graviton.conf"
        self._file.write_text(config["data"]["graviton.conf"])
        postgres.execute("CREATE DATABASE pods")
        self._environment = {
            "GRAVITON_ENV": "production",
            "PG_JDBC_URL": f"jdbc:postgresql://{quote(str(postgres.home), safe='')}/pods",
            "PG_USERNAME": "graviton",
            "PG_PASSWORD": "",
        }
        self.pods: list[Running] = []
        self.token = ""

    def start(self) -> Running:
        command = ["serve", "--config", self._file, "--data", self.data]
        ports = ["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"]
        return self._graviton.start(*command, *ports, **self._environment)

    def scale(self, count: int) -> None:
        """Pods are started together, as a Deployment does, and stopped by SIGTERM."""
        self.pods += [self.start() for _ in range(count - len(self.pods))]
        while len(self.pods) > count:
            assert self.pods.pop().stop() == 0
        for pod in self.pods:
            wait_until(lambda it=pod: self.ready(it), "a pod is ready", 90)

    def ask(self, pod: Running, method: str, path: str, body: bytes | None = None) -> Answer:
        with closing(Api(address(pod.ready_line(90), "http"), token=self.token or None)) as api:
            return api(method, path, body)

    def ready(self, pod: Running) -> bool:
        """As the readiness probe asks."""
        return self.ask(pod, "GET", "/health/ready").status == 200

    def engines(self) -> set[str]:
        return {path.name for path in self.data.iterdir() if path.name.startswith("engine-")}


class Load:
    """Writers that, like clients of a Service, go to another pod when one refuses or has gone."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.acknowledged: dict[str, bytes] = {}
        self.failures: list[str] = []
        self._threads = [threading.Thread(target=self._write, args=(number,)) for number in range(WRITERS)]
        for thread in self._threads:
            thread.start()

    def _write(self, number: int) -> None:
        serial = 0
        while not self._stop.is_set():
            serial += 1
            name, body = f"w{number}-{serial}", os.urandom(1000) + b"shared" * (serial % 7) * 20_000
            pods = list(self._deployment.pods)
            try:
                answer = self._deployment.ask(pods[serial % len(pods)], "PUT", f"/api/v1/files/{name}", body)
            except (OSError, http.client.HTTPException, AssertionError):
                continue  # it has gone; what was not acknowledged may be there or not
            with self._lock:
                if answer.status in (200, 201, 204):
                    self.acknowledged[name] = body
                elif answer.status != 503:
                    self.failures.append(f"{name}: {answer.status} {answer.body[:200]!r}")

    def wrote(self, more: int) -> None:
        """Wait until so many more are acknowledged."""
        before = len(self.acknowledged)
        wait_until(lambda: len(self.acknowledged) >= before + more or self.failures, "writes go on", 60)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)


@pytest.fixture
def deployment(graviton: Graviton, scratch: Path, postgres: PostgresServer) -> Iterator[Deployment]:
    made = Deployment(graviton, scratch, postgres)
    yield made
    for pod in made.pods:
        pod.process.terminate()
    for pod in made.pods:
        assert pod.process.wait(60) == 0


def test_the_manifests_give_all_pods_one_volume() -> None:
    pod = named(built("base"), "Deployment")["spec"]["template"]["spec"]
    (data,) = [one for one in pod["volumes"] if "persistentVolumeClaim" in one]
    (mount,) = [one for one in pod["containers"][0]["volumeMounts"] if one["name"] == data["name"]]
    config = next(one for one in built("base") if one["kind"] == "ConfigMap")["data"]["graviton.conf"]
    assert mount["mountPath"] == "/var/lib/graviton"
    assert 'data-dir = "/var/lib/graviton"' in config
    claim = named(built("base"), "PersistentVolumeClaim", "graviton-pvc")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]


@pytest.mark.timeout(300)
def test_three_then_five_daemons_over_one_volume_under_load(
    deployment: Deployment, graviton: Graviton
) -> None:
    deployment.scale(3)
    assert deployment.engines() == {"engine-0", "engine-1", "engine-2"}
    made = graviton.run("token", "create", deployment.data, "--name", "load").stdout.decode()
    deployment.token = made.split()[0]

    load = Load(deployment)
    try:
        load.wrote(30)
        deployment.scale(5)
        assert len(deployment.engines()) == 5
        load.wrote(40)
        deployment.pods.pop(1).kill()  # the node is gone; another pod takes its place, and its directory
        load.wrote(20)
        deployment.scale(5)
        assert len(deployment.engines()) == 5
        load.wrote(20)
        deployment.scale(3)
        load.wrote(20)
    finally:
        load.stop()
    assert load.failures == []
    for pod in deployment.pods:
        for name, body in load.acknowledged.items():
            answer = deployment.ask(pod, "GET", f"/api/v1/files/{name}")
            assert answer.status == 200, f"{name}: {answer.body[:200]!r}"
            assert answer.body == body
