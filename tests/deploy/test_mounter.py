"""Mounts by a descriptor that a mounter passes, in namespaces as the sidecar's containers have them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.places import file_system_type, is_mounted, unmount_below
from harness.programs import Graviton, Running, environment
from harness.waiting import wait_until

pytestmark = pytest.mark.mount

UID = 10001
# What a container without privileges has: another user, no capability, none to gain, no device of FUSE.
_CONFINED = (
    "setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all",
    "--no-new-privs",
)  # fmt: skip


class Pod:
    """Three "containers" that share a directory: mount namespaces of their own, with the propagation that
    the manifests ask for, over a bind mount that is shared, as the kubelet's are."""

    def __init__(self, graviton: Graviton, scratch: Path) -> None:
        self._graviton = graviton
        self.scratch = scratch
        self.shared = scratch / "shared"
        self.point = self.shared / "files"
        self.socket = scratch / "run" / "socket"
        for folder in (self.shared, self.socket.parent):
            folder.mkdir()
        self.point_made = False
        subprocess.run(["mount", "--bind", self.shared, self.shared], check=True)
        subprocess.run(["mount", "--make-rshared", self.shared], check=True)
        self.point.mkdir()
        self.socket.parent.chmod(0o755)
        home = scratch / "home"
        home.mkdir()
        os.chown(home, UID, UID)
        self._home = home
        self.source = ""
        self.daemon: Running
        self._children: list[subprocess.Popen[bytes]] = []

    def serve(self) -> Running:
        running = self._graviton.start(
            "serve", "--data", self.scratch / "data", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"
        )
        line = running.ready_line()
        self.source = "graviton://" + line.partition("grpc=")[2].split()[0] + "/main"
        return running

    def _start(self, prefix: tuple[str, ...], *arguments: str | Path) -> Running:
        number = len(self._children)
        output, log = self.scratch / f"pod-{number}.out", self.scratch / f"pod-{number}.log"
        with output.open("wb") as out, log.open("wb") as err:
            child = subprocess.Popen(
                [*prefix, sys.executable, "-m", "graviton_server", *map(str, arguments)],
                stdout=out,
                stderr=err,
                cwd="/",
                env=environment(HOME=str(self._home), XDG_CACHE_HOME=str(self._home / "cache")),
            )
        self._children.append(child)
        return Running(child, output, log)

    def mounter(self, *options: str) -> Running:
        """Bidirectional: what it mounts goes to the others."""
        options = options or ("--allow-other",)
        running = self._start(
            ("unshare", "--mount", "--propagation=unchanged"),
            "mounter", "--user", f"{UID}:{UID}", *options, self.socket, self.point,
        )  # fmt: skip
        running.ready_line()
        return running

    def mount(self, *options: str) -> Running:
        """HostToContainer: it sees the mount, and has no right to make one."""
        said = ",".join((f"mounter={self.socket}", "allow_other", *options))
        prefix = ("unshare", "--mount", "--propagation=slave", *_CONFINED)
        return self._start(prefix, "mount", "--foreground", "-o", said, self.source, self.point)

    def live(self) -> bool:
        """As the start-up probe of the manifests asks."""
        done = subprocess.run(
            ["/bin/sh", "-c", f'test "$(stat -f -c %T {self.point})" = fuseblk'],
            capture_output=True,
            timeout=30,
            check=False,
        )
        return done.returncode == 0

    def close(self) -> None:
        for child in self._children:
            if child.poll() is None:
                child.kill()
            child.wait(60)
        unmount_below(self.shared)


@pytest.fixture
def pod(graviton: Graviton, scratch: Path) -> Iterator[Pod]:
    if os.geteuid() != 0:
        pytest.skip("making containers' namespaces takes root")
    made = Pod(graviton, scratch)
    made.daemon = made.serve()
    try:
        yield made
    finally:
        made.close()


def test_a_process_without_privileges_serves_a_mount(pod: Pod) -> None:
    mounter = pod.mounter()
    assert not pod.live()
    mount = pod.mount()
    mount.ready_line()
    status = Path(f"/proc/{mount.pid}/status").read_text()
    assert f"Uid:\t{UID}" in status
    assert "CapEff:\t0000000000000000" in status
    assert "CapBnd:\t0000000000000000" in status
    assert pod.live()
    assert file_system_type(pod.point) == "fuse.graviton"
    (pod.point / "file").write_bytes(b"here" * 100_000)
    assert (pod.point / "file").read_bytes() == b"here" * 100_000

    assert mount.stop() == 0
    wait_until(lambda: not is_mounted(pod.point), "the mount is taken away", 30)
    assert not pod.live()
    assert mounter.stop() == 0
    assert not pod.socket.exists()


def test_what_was_written_at_the_end_is_stored(pod: Pod, graviton: Graviton) -> None:
    pod.mounter()
    mount = pod.mount("drain-timeout=50s")
    mount.ready_line()
    body = os.urandom(20_000_000)
    with (pod.point / "last").open("wb") as file:
        file.write(body)  # nobody waits for it
    assert mount.stop() == 0
    pod.mount().ready_line()
    assert (pod.point / "last").read_bytes() == body


def test_the_end_is_bounded_while_the_store_does_not_answer(pod: Pod) -> None:
    pod.mounter()
    mount = pod.mount("drain-timeout=3s", "timeout=5s")
    mount.ready_line()
    descriptor = os.open(pod.point / "lost", os.O_CREAT | os.O_WRONLY)
    os.fsync(descriptor)
    pod.daemon.process.send_signal(signal.SIGSTOP)
    try:
        os.write(descriptor, os.urandom(1_000_000))
        begun = time.monotonic()
        assert mount.stop(80) == 1
        assert time.monotonic() - begun < 30
    finally:
        pod.daemon.process.send_signal(signal.SIGCONT)
        with contextlib.suppress(OSError):
            os.close(descriptor)
    assert "the daemon does not answer" in mount.log_text()
    wait_until(lambda: not is_mounted(pod.point), "the mount is taken away", 30)


def test_a_killed_mount_comes_back_at_the_same_place(pod: Pod) -> None:
    pod.mounter()
    first = pod.mount()
    first.ready_line()
    (pod.point / "kept").write_text("kept")
    descriptor = os.open(pod.point / "kept", os.O_RDWR)
    os.fsync(descriptor)
    first.process.kill()
    first.process.wait(60)
    with pytest.raises(OSError, match=r"not connected|abort"):
        os.fstatvfs(descriptor)  # told at once, no waiting for the dead
    with contextlib.suppress(OSError):
        os.close(descriptor)
    wait_until(lambda: not is_mounted(pod.point), "the dead mount is taken away", 30)
    pod.mount().ready_line()
    assert pod.live()
    assert (pod.point / "kept").read_text() == "kept"


def test_a_killed_mounter_leaves_the_mount_and_another_takes_over(pod: Pod) -> None:
    mounter = pod.mounter()
    first = pod.mount()
    first.ready_line()
    mounter.process.kill()
    mounter.process.wait(60)
    (pod.point / "meanwhile").write_text("written")
    pod.mounter()
    second = pod.mount()
    assert second.process.wait(60) == 1
    assert "mounted" in second.log_text()
    assert (pod.point / "meanwhile").read_text() == "written"
    first.process.kill()
    first.process.wait(60)
    pod.mount().ready_line()
    assert (pod.point / "meanwhile").read_text() == "written"


def test_a_mounter_that_is_told_to_end_waits_for_its_client(pod: Pod) -> None:
    mounter = pod.mounter()
    mount = pod.mount()
    mount.ready_line()
    mounter.process.send_signal(signal.SIGTERM)
    (pod.point / "still").write_text("served")
    assert mounter.process.poll() is None
    assert mount.stop() == 0
    assert mounter.process.wait(60) == 0
    assert not is_mounted(pod.point)


def test_what_the_mounter_refuses_is_told(pod: Pod) -> None:
    pod.mounter("--user", "1:1")
    mount = pod.mount()
    assert mount.process.wait(60) == 1
    assert "cannot be asked" in mount.log_text()


def test_allow_other_is_the_mounters_to_give(pod: Pod) -> None:
    mounter = pod.mounter("--user", f"{UID}:{UID}")
    mount = pod.mount()
    assert mount.process.wait(60) == 1
    assert "--allow-other" in mount.log_text()
    assert not is_mounted(pod.point)
    assert mounter.stop() == 0


def test_a_mount_can_be_read_only(pod: Pod) -> None:
    pod.mounter()
    mount = pod.mount("ro")
    mount.ready_line()
    with pytest.raises(OSError, match="Read-only"):
        (pod.point / "file").write_text("no")
    assert mount.stop() == 0


def test_an_open_device_is_served_under_its_number(pod: Pod) -> None:
    """As mount.fuse3 and CSI drivers pass it."""
    import ctypes

    descriptor = os.open("/dev/fuse", os.O_RDWR)
    data = f"fd={descriptor},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mount(b"g", os.fsencode(pod.point), b"fuse.graviton", ctypes.c_ulong(0), data) == 0
    child = subprocess.Popen(
        [sys.executable, "-m", "graviton_server", "mount", "-f", pod.source, f"/dev/fd/{descriptor}"],
        pass_fds=[descriptor],
        env=environment(XDG_CACHE_HOME=str(pod.scratch / "cache-home")),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(descriptor)
    try:
        (pod.point / "file").write_text("written")
        assert (pod.point / "file").read_text() == "written"
    finally:
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(60)
    assert child.returncode == 0
