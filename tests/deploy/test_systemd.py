"""The units are what systemd takes, and services tell it how they are."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.places import unmount
from harness.programs import Graviton

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
NAMES = ("graviton.service", "graviton-mount@srv-files.service", "graviton-webdav@home.service")


@pytest.fixture
def units(scratch: Path) -> Path:
    """With a program that is there."""
    folder = scratch / "units"
    folder.mkdir()
    program = shutil.which("true")
    assert program is not None
    for name in NAMES:
        source = UNITS / (name.partition("@")[0] + "@.service" if "@" in name else name)
        text = source.read_text()
        assert "/usr/local/bin/graviton" in text
        (folder / name).write_text(text.replace("/usr/local/bin/graviton", program))
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_systemd_takes_the_unit(units: Path, name: str) -> None:
    command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", units / name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    said = [line for line in done.stderr.splitlines() if "graviton" in line]
    assert done.returncode == 0, done.stderr
    assert said == []


def test_the_daemon_is_locked_in(units: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=40", units / "graviton.service"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr


class Manager:
    """What listens where NOTIFY_SOCKET says."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(60)

    def heard(self) -> list[str]:
        return self._socket.recv(4096).decode().splitlines()

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(scratch: Path) -> Iterator[Manager]:
    made = Manager(scratch / "notify")
    yield made
    made.close()


def test_a_daemon_tells_when_it_is_ready(graviton: Graviton, scratch: Path, manager: Manager) -> None:
    ports = ("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
    running = graviton.start(
        "serve", "--data", scratch / "data", *ports, NOTIFY_SOCKET=str(scratch / "notify")
    )
    told = manager.heard()
    assert told[0] == "READY=1"
    assert told[1].startswith("STATUS=ready http=")
    running.process.send_signal(signal.SIGTERM)
    assert manager.heard() == ["STOPPING=1"]
    assert running.process.wait(60) == 0


@pytest.mark.mount
def test_a_mount_tells_when_it_is_ready(graviton: Graviton, scratch: Path, manager: Manager) -> None:
    graviton.run("init", scratch / "data")
    point = scratch / "mnt"
    running = graviton.mount(scratch / "data", point, NOTIFY_SOCKET=str(scratch / "notify"))
    assert manager.heard()[0] == "READY=1"
    unmount(point)
    assert manager.heard() == ["STOPPING=1"]
    assert running.process.wait(60) == 0
