"""The compose file by docker-compose, the Dockerfile by a parser, and its steps for real."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.images import Builder, command_of, parsed
from harness.programs import ROOT, Graviton

DOCKER = ROOT / "deploy" / "docker"
PINNED = ("postgres:16", "graviton:0.1.0")
ENVIRONMENT = {
    "PG_JDBC_URL": "jdbc:postgresql://postgres:5432/graviton",
    "PG_USERNAME": "graviton",
    "PG_PASSWORD": "secret",
}


def composed(folder: Path, *profiles: str, environment: str | None = None) -> dict[str, Any]:
    """What docker-compose makes of the file."""
    file = folder / "env"
    if environment is None:
        environment = (DOCKER / ".env.example").read_text().replace("PASSWORD=\n", "PASSWORD=secret\n")
    file.write_text(environment)
    options = [f"--profile={name}" for name in profiles]
    done = subprocess.run(
        ["docker-compose", f"--env-file={file}", f"--file={DOCKER}/compose.yaml", *options, "config"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": str(folder)},
    )
    assert done.returncode == 0, done.stderr
    value: dict[str, Any] = yaml.safe_load(done.stdout)
    return value


def test_compose_takes_the_file(scratch: Path) -> None:
    services = composed(scratch)["services"]
    assert {"graviton", "postgres", "prometheus", "grafana"} <= set(services)
    assert services["postgres"]["image"] == "postgres:16"
    assert services["graviton"]["environment"]["PG_PASSWORD"] == "secret"
    for name, service in services.items():
        if name != "s3-bucket":
            assert service["healthcheck"]["test"], name
        assert "latest" not in service["image"]
        assert service["image"].partition(":")[2], name


def test_compose_wants_secrets(scratch: Path) -> None:
    with pytest.raises(AssertionError, match="PASSWORD"):
        composed(scratch, environment="")


def test_a_bucket_reaches_the_daemon_and_the_store(scratch: Path) -> None:
    text = (DOCKER / ".env.example").read_text().replace("PASSWORD=\n", "PASSWORD=secret\n")
    text = re.sub(r"^#(GRAVITON_|AWS_)", r"\1", text, flags=re.MULTILINE)
    chosen = text.replace("KEY_ID=", "KEY_ID=key").replace("ACCESS_KEY=", "ACCESS_KEY=hidden")
    services = composed(scratch, "s3", environment=chosen)["services"]
    told = services["graviton"]["environment"]
    assert told["GRAVITON_S3_BUCKET"] == "graviton"
    assert told["AWS_ACCESS_KEY_ID"] == services["s3"]["environment"]["AWS_ACCESS_KEY_ID"] == "key"
    assert told["GRAVITON_S3_ENDPOINT"] == "http://s3:8333"
    assert "-s3.port=8333" in services["s3"]["command"]


def test_what_is_mounted_is_there(scratch: Path) -> None:
    for service in composed(scratch)["services"].values():
        for volume in service.get("volumes", []):
            source = volume if isinstance(volume, str) else volume["source"]
            source = source.partition(":")[0]
            if source.startswith("/"):
                assert Path(source).exists(), source


def test_the_configuration_is_in_order(graviton: Graviton) -> None:
    told = graviton.run("config", "check", DOCKER / "graviton.conf", **ENVIRONMENT).stdout.decode()
    assert "in order" in told
    shown = graviton.run("config", "show", DOCKER / "graviton.conf", **ENVIRONMENT).stdout.decode()
    assert "auth.enabled" in shown
    assert "secret" not in shown


def stages() -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for name, value in parsed(DOCKER / "Dockerfile"):
        if name == "FROM":
            found[value.split()[2]] = []
        else:
            list(found.values())[-1].append((name, value))
    return found


def test_the_dockerfile_is_as_it_should_be() -> None:
    found = stages()
    assert list(found) == ["builder", "base", "mount", "backup", "daemon"]
    daemon = dict(found["daemon"])
    assert daemon["USER"] == "graviton"
    assert daemon["EXPOSE"] == "8080 50051"
    assert "/health/live" in command_of(daemon["HEALTHCHECK"])[-1]
    for name, value in found["base"] + found["mount"] + found["daemon"]:
        assert name != "RUN" or not {"gcc", "python3-dev", "git"} & set(value.split())


def test_what_is_copied_is_not_ignored() -> None:
    kept = {
        line.removeprefix("!")
        for line in (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = {
        word
        for name, value in parsed(DOCKER / "Dockerfile")
        if name == "COPY" and not value.startswith("--from")
        for word in value.split()[:-1]
    }
    assert copied == kept
    assert all((ROOT / name).exists() for name in kept)


@pytest.mark.soak
@pytest.mark.mount
@pytest.mark.timeout(1800)
def test_the_images_are_built_and_run(scratch: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a Debian root")
    images = Builder(scratch, ROOT).build(DOCKER / "Dockerfile")
    daemon, mount = images["daemon"], images["mount"]
    assert "graviton" in daemon.run("graviton --version")
    assert daemon.run("id -u").strip() == "10001"
    for program in ("gcc", "pip", "fusermount3"):
        assert daemon.run(f"command -v {program} || echo none").strip() == "none"

    conf = "graviton { server.http.host = 0.0.0.0, auth.enabled = true }"
    (daemon.root / "etc" / "graviton" / "graviton.conf").write_text(conf)
    serve = shlex.join([*command_of(daemon.settings["ENTRYPOINT"]), *command_of(daemon.settings["CMD"])])
    check = shlex.join(command_of(daemon.settings["HEALTHCHECK"]))
    daemon.run(
        f"{serve} > /tmp/out 2> /tmp/log & pid=$!\n"
        "for i in $(seq 120); do grep -q ^ready /tmp/out && break; sleep 0.5; done\n"
        f"{{ {check} && graviton token create . --name me && kill $pid && wait $pid; }}"
        " || { cat /tmp/log; false; }",
        isolated=True,
    )

    mount.run(
        "graviton init /srv/volume && mount -t graviton /srv/volume /mnt && echo here > /mnt/file"
        " && umount /mnt && mount -t graviton /srv/volume /mnt && grep here /mnt/file"
        " && graviton umount /mnt",
        isolated=True,
    )
