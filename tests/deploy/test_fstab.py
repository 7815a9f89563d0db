"""``mount -t graviton`` and lines of /etc/fstab, by the system's own mount(8)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.places import is_mounted, unmount_below
from harness.programs import Graviton, environment
from harness.waiting import wait_until

pytestmark = pytest.mark.mount

SBIN = Path("/sbin")
HELPERS = {"mount.graviton": "main", "umount.fuse.graviton": "umount_main"}


@pytest.fixture
def helpers() -> Iterator[None]:
    """As a package puts them where mount(8) looks."""
    if os.geteuid() != 0:
        pytest.skip("putting helpers into /sbin takes root")
    made = []
    try:
        for name, function in HELPERS.items():
            path = SBIN / name
            assert not path.exists(), f"{path} is somebody else's"
            made.append(path)
            path.write_text(
                f"#!{sys.executable}\nfrom graviton_server.fstab import {function}\n{function}()\n"
            )
            path.chmod(0o755)
        yield
    finally:
        for path in made:
            path.unlink(missing_ok=True)


class Machine:
    """With an fstab of its own."""

    def __init__(self, scratch: Path) -> None:
        self.data, self.point, self.fstab = scratch / "data", scratch / "mnt", scratch / "fstab"
        self.point.mkdir()
        self._environment = environment(XDG_STATE_HOME=str(scratch / "state"))

    def line(self, options: str) -> None:
        self.fstab.write_text(f"{self.data} {self.point} graviton {options} 0 0\n")

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env=self._environment, capture_output=True, text=True, timeout=60, check=False
        )

    def options(self) -> set[str]:
        """As the kernel has them."""
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            fields = line.split()
            if fields[4] == str(self.point):
                return set(fields[5].split(",")) | set(fields[-1].split(","))
        raise AssertionError(f"{self.point} is not mounted")

    def unmount(self, *, waits: bool = False) -> None:
        """By umount(8). It asks our helper, and so waits until everything is stored, where the line has
        something that the kernel does not keep (_netdev, nofail, x-...); else statfs tells it "fuse"."""
        done = self.run("umount", self.point)
        assert done.returncode == 0, done.stderr
        if waits:
            assert self.processes() == []
        wait_until(lambda: not self.processes(), "the mount's process has ended")

    def processes(self) -> list[str]:
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                said = path.read_bytes()
            except OSError:
                continue
            if b"mount" in said and os.fsencode(self.point) in said:
                found.append(path.parent.name)
        return found


@pytest.fixture
def machine(helpers: None, graviton: Graviton, scratch: Path) -> Iterator[Machine]:
    made = Machine(scratch)
    graviton.run("init", made.data)
    yield made
    unmount_below(scratch)
    wait_until(lambda: not made.processes(), "the mounts' processes have ended")


def test_a_line_in_fstab(machine: Machine) -> None:
    machine.line("defaults,allow_other,_netdev,nofail,noatime,nosuid,nodev,x-systemd.automount")
    done = machine.run("mount", "--fstab", machine.fstab, machine.point)
    assert done.returncode == 0, done.stderr
    assert {"rw", "nosuid", "nodev", "allow_other"} <= machine.options()
    assert "noexec" not in machine.options()
    (machine.point / "f").write_bytes(b"kept" * 1000)
    machine.unmount(waits=True)
    assert machine.run("mount", "--fstab", machine.fstab, machine.point).returncode == 0
    assert (machine.point / "f").read_bytes() == b"kept" * 1000
    machine.unmount()


def test_users_lines_forbid_programs(machine: Machine) -> None:
    machine.line("users,ro")
    assert machine.run("mount", "--fstab", machine.fstab, machine.point).returncode == 0
    assert {"ro", "noexec", "nosuid", "nodev"} <= machine.options()
    machine.unmount()


def test_mount_dash_t(machine: Machine) -> None:
    done = machine.run("mount", "-t", "graviton", machine.data, machine.point, "-o", "umask=077")
    assert done.returncode == 0, done.stderr
    assert is_mounted(machine.point)
    machine.unmount()


@pytest.mark.parametrize(
    ("options", "said", "status"),
    [
        ("nonsense=1", "unknown mount option 'nonsense'", 1),
        ("remount,ro", "unmount it, and mount it again", 1),
        ("subdir=missing", "no directory missing", 32),
    ],
)
def test_what_is_wrong_is_told(machine: Machine, options: str, said: str, status: int) -> None:
    helper = SBIN / "mount.graviton"
    done = machine.run(helper, machine.data, machine.point, "-o", options)
    assert done.returncode == status
    assert said in done.stderr
    assert not is_mounted(machine.point)


def test_sloppy_and_fake(machine: Machine) -> None:
    helper = SBIN / "mount.graviton"
    assert machine.run(helper, machine.data, machine.point, "-s", "-o", "nonsense=1,ro").returncode == 0
    assert "ro" in machine.options()
    machine.unmount()
    assert machine.run(helper, machine.data, machine.point, "-f", "-o", "rw").returncode == 0
    assert not is_mounted(machine.point)
