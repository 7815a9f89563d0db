"""up, mount, umount, webdav: processes that serve a volume, and how they begin and end."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from cli.conftest import Shell
from harness.places import is_mounted
from harness.ports import free_port
from harness.programs import Graviton, environment
from harness.users import User
from harness.waiting import wait_until

pytestmark = pytest.mark.mount


@pytest.fixture
def point(volume: Shell) -> Path:
    path = volume.graviton.scratch / "mnt"
    path.mkdir()
    return path


def ended(pid: int) -> bool:
    """Gone, or a zombie whose parent has not looked yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_mount_returns_when_it_answers_and_umount_when_all_is_stored(volume: Shell, point: Path) -> None:
    told = volume.result("mount", str(volume.data), str(point)).stderr.decode()
    pid = int(re.search(r"process (\d+)", told)[1])
    body = os.urandom(20 << 20)
    (point / "f").write_bytes(body)
    volume.run("umount", str(point))
    assert not is_mounted(point)
    assert ended(pid)
    assert volume.read("/f") == body
    log = (volume.data / "mount.log").read_text()
    assert "ERROR" not in log
    assert "Traceback" not in log


def test_one_process_at_a_time_serves_a_volume(volume: Shell, point: Path) -> None:
    mount = volume.graviton.mount(volume.data, point)
    other = volume.graviton.scratch / "other"
    other.mkdir()
    for command in (
        ["mount", str(volume.data), str(other)],
        ["mount", "-f", str(volume.data), str(other)],
        ["webdav", str(volume.data), "--listen", "127.0.0.1:0"],
        ["up", "--data", str(volume.data), "--webdav", "127.0.0.1:0"],
    ):
        told = volume.fails(*command)
        assert f"process {mount.pid} ('graviton mount')" in told
    volume.graviton.unmount(mount, point)


def test_paths_inside_a_mount(volume: Shell, point: Path) -> None:
    mount = volume.graviton.mount(volume.data, point)
    inside = point / "dir"
    inside.mkdir()
    (inside / "f").write_bytes(b"written through the kernel")
    assert volume.result("cat", str(inside / "f")).stdout == b"written through the kernel"
    volume.run("cp", "-r", str(inside), str(point / "copy"))
    assert (point / "copy" / "f").read_bytes() == b"written through the kernel"
    volume.run("put", "-", str(inside / "g"), stdin=b"written through the socket")
    assert (inside / "g").read_bytes() == b"written through the socket"
    assert sorted(os.listdir(inside)) == ["f", "g"]
    volume.run("mv", str(inside / "g"), volume.at("/moved"))
    assert not (inside / "g").exists()
    assert (point / "moved").exists()
    volume.run("rm", "-r", str(point / "copy"))
    assert sorted(os.listdir(point)) == ["dir", "moved"]
    (point / "link").symlink_to("dir")
    assert [e["name"] for e in volume.json("ls", str(point / "link" / "f"))] == ["f"]
    assert volume.json("stat", str(point / "link"))[0]["type"] == "symlink"
    assert volume.json("status", str(point))["mounts"] == [
        {"path": str(point), "subdir": "/", "read_only": False}
    ]
    assert volume.json("info", str(inside))["files"] == 1
    volume.graviton.unmount(mount, point)


def test_profile_and_stats_of_a_mount(volume: Shell, point: Path) -> None:
    mount = volume.graviton.mount(volume.data, point)
    for number in range(20):
        (point / f"f{number}").write_bytes(b"x" * 100)
    (point / "missing").exists()  # a caller's own mistake is no error of the volume
    profile = {entry["name"]: entry for entry in volume.json("profile", str(volume.data))}
    assert profile["create"]["count"] == 20
    assert profile["create"]["mean_ms"] > 0
    assert sum(entry["errors"] for entry in profile.values()) == 0
    assert all(entry["front_end"] == "fuse" for entry in profile.values())
    volume.graviton.unmount(mount, point)


def test_status_of_a_mount_tells_of_its_background_work(volume: Shell, point: Path) -> None:
    mount = volume.graviton.mount(volume.data, point)
    tasks = {task["name"]: task for task in volume.json("status", str(volume.data))["upkeep"]}
    assert {"drain", "reap", "rechunk", "digest", "collect"} <= tasks.keys()
    assert all(task["state"] in ("waiting", "running") for task in tasks.values())
    assert re.search(r"^collect +waiting", volume.run("status", str(point)), re.MULTILINE)
    volume.graviton.unmount(mount, point)


def test_a_dead_mount_is_cleaned_by_mounting_again(volume: Shell, point: Path) -> None:
    mount = volume.graviton.mount(volume.data, point)
    (point / "f").write_bytes(b"x")
    os.sync()
    mount.kill()
    with pytest.raises(OSError, match="not connected"):
        os.listdir(point)
    assert "is gone: mount it again" in volume.fails("ls", str(point / "f"))
    volume.run("mount", str(volume.data), str(point))
    assert is_mounted(point)
    volume.run("umount", str(point))


def test_umount_cleans_a_dead_mount_as_well(volume: Shell, point: Path) -> None:
    mount = volume.graviton.mount(volume.data, point)
    mount.kill()
    volume.run("umount", str(point))
    assert not is_mounted(point)
    assert "no volume is mounted" in volume.fails("umount", str(point))
    assert "no volume is mounted" in volume.fails("umount", "/")


def test_umount_of_what_is_in_use(volume: Shell, point: Path) -> None:
    mount = volume.graviton.mount(volume.data, point)
    with (point / "f").open("wb") as held:
        held.write(b"half")
        told = volume.fails("umount", str(point))
        assert f"in use by process {os.getpid()}" in told
        assert is_mounted(point)
        volume.run("umount", "--lazy", str(point))
        assert not is_mounted(point)
        held.write(b" and half")
    assert mount.process.wait(60) == 0
    assert volume.read("/f") == b"half and half"


def test_umount_by_force_of_a_process_that_hangs(volume: Shell, point: Path) -> None:
    mount = volume.graviton.mount(volume.data, point)
    mount.process.send_signal(signal.SIGSTOP)
    try:
        volume.run("umount", "--force", str(point))
        assert not is_mounted(point)
    finally:
        mount.process.send_signal(signal.SIGCONT)
    assert mount.process.wait(60) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stores_everything_and_unmounts(volume: Shell, point: Path, number: int) -> None:
    mount = volume.graviton.start("mount", "-f", volume.data, point)
    assert mount.ready_line() == f"ready mount={point}\n"
    body = os.urandom(10 << 20)
    held = os.open(point / "f", os.O_WRONLY | os.O_CREAT)
    os.write(held, body)
    mount.process.send_signal(number)
    assert mount.process.wait(60) == 0
    with contextlib.suppress(OSError):
        os.close(held)  # nobody is there to answer any more
    assert not is_mounted(point)
    assert volume.read("/f") == body


def test_up_makes_everything_that_is_missing(graviton: Graviton) -> None:
    up = graviton.start("up", "--data", "new/data", "--mount", "new/mnt", "--webdav", "127.0.0.1:0")
    ready = up.ready_line()
    address = re.search(r"webdav=(\S+)", ready)[1]
    point = graviton.scratch / "new" / "mnt"
    assert f"mount={point}" in ready
    (point / "f").write_bytes(b"through the kernel")
    with urllib.request.urlopen(address + "f") as answer:
        assert answer.read() == b"through the kernel"
    request = urllib.request.Request(address + "g", data=b"over WebDAV", method="PUT")
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 201
    assert (point / "g").read_bytes() == b"over WebDAV"
    assert "graviton info new/data" in up.output.read_text()
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(60) == 0
    assert "everything is stored" in up.log_text()
    assert not is_mounted(point)
    listed = json.loads(graviton.run("ls", "new/data:/", "--json").stdout)
    assert [entry["name"] for entry in listed] == ["f", "g"]


def test_up_ends_when_its_mount_is_taken_away(graviton: Graviton) -> None:
    up = graviton.start("up", "--data", "data", "--mount", "mnt", "--webdav", "off")
    assert "webdav" not in up.ready_line()
    graviton.run("umount", "mnt")
    assert up.process.wait(60) == 0


def test_up_without_a_mount(graviton: Graviton) -> None:
    up = graviton.start("up", "--data", "data", "--webdav", "127.0.0.1:0")
    assert "mount=" not in up.ready_line()
    assert up.stop() == 0


def test_what_keeps_a_server_from_starting(volume: Shell, point: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert "in use" in volume.fails("webdav", str(volume.data), "--listen", address)
        told = volume.fails("up", "--data", str(volume.data), "--mount", str(point), "--webdav", address)
        assert "in use" in told
        told = volume.fails("mount", "-f", str(volume.data), str(point), "-o", f"metrics={address}")
        assert "in use" in told
    assert "users" in volume.fails("webdav", str(volume.data), "--listen", "0.0.0.0:0")
    told = volume.fails("webdav", str(volume.data), "--listen", "127.0.0.1:0", "--users", "nowhere")
    assert "nowhere does not exist" in told
    assert "does not exist" in volume.fails("mount", str(volume.data), "nowhere")
    (volume.graviton.scratch / "file").write_bytes(b"")
    assert "no directory" in volume.fails("mount", str(volume.data), "file")
    assert "is no volume" in volume.fails("mount", str(point), str(point))
    assert os.listdir(point) == []
    assert not is_mounted(point)


def test_webdav_asks_for_passwords(volume: Shell) -> None:
    volume.result("passwd", "users", "alice", stdin=b"secret\n")
    server = volume.graviton.start("webdav", volume.data, "--listen", "127.0.0.1:0", "--users", "users")
    address = server.ready_line().split("webdav=")[1].strip()
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(address)
    refused.value.close()
    assert refused.value.code == 401
    manager = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    manager.add_password(None, address, "alice", "secret")
    opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(manager))
    with opener.open(address) as answer:
        assert answer.status == 200
    assert server.stop() == 0


# --- mount options ----------------------------------------------------------------------------


def test_unknown_options_are_refused_by_name(volume: Shell, point: Path) -> None:
    for option, sentence in (
        ("sparkle", "unknown mount option 'sparkle'"),
        ("ro,sparkle=/x", "unknown mount option 'sparkle'"),
        ("cache-dir=/x", "is on a disk of this machine; memory= bounds"),
        ("cache-reserve=1GiB", "mount option cache-reserve"),
        ("cache-size=1GiB", "the disk cache is for volumes that are elsewhere"),
        ("ro=1", "ro takes no value"),
        ("uid", "uid needs a value"),
        ("uid=me", "is no number"),
        ("umask=999", "is no octal mask"),
        ("memory=lots", "is no size"),
        ("timeout=soon", "is no duration"),
        ("metrics=here", "HOST:PORT"),
    ):
        assert sentence in volume.fails("mount", str(volume.data), str(point), "-o", option, status=2)


def test_read_only(volume: Shell, point: Path) -> None:
    volume.write("/f", b"x")
    mount = volume.graviton.mount(volume.data, point, "ro")
    assert (point / "f").read_bytes() == b"x"
    with pytest.raises(OSError, match="Read-only"):
        (point / "g").write_bytes(b"")
    inside, other = str(point / "f"), str(point / "g")
    changes = (
        ["put", "-", other],
        ["rm", inside],
        ["mkdir", other],
        ["cp", inside, other],
        ["mv", inside, other],
    )
    for command in changes:
        assert "is read-only" in volume.fails(*command)
    assert volume.result("cat", inside).stdout == b"x"
    volume.graviton.unmount(mount, point)


def test_subdir(volume: Shell, point: Path) -> None:
    volume.run("mkdir", "-p", volume.at("/a/b"))
    volume.write("/a/b/f", b"deep")
    mount = volume.graviton.mount(volume.data, point, "subdir=a/b")
    assert os.listdir(point) == ["f"]
    assert volume.result("cat", str(point / "f")).stdout == b"deep"
    volume.run("mkdir", str(point / "made"))
    volume.graviton.unmount(mount, point)
    assert [e["name"] for e in volume.json("ls", volume.at("/a/b"))] == ["f", "made"]
    assert "has no directory" in volume.fails("mount", str(volume.data), str(point), "-o", "subdir=no")


@pytest.mark.parametrize("where", ["data", ".", "data/inside", "link"])
def test_a_volume_is_not_mounted_over_itself(volume: Shell, where: str) -> None:
    """It would serve its own files from itself: every access would hang."""
    scratch = volume.graviton.scratch
    (scratch / "link").symlink_to("data")
    (scratch / "data" / "inside").mkdir()
    assert "lie in each other" in volume.fails("mount", str(volume.data), str(scratch / where))
    assert "lie in each other" in volume.fails("up", "--data", str(volume.data), "--mount", where)
    assert not is_mounted(scratch / where)


def test_owner_and_mask_shown(volume: Shell, point: Path) -> None:
    volume.write("/f", b"x")
    mount = volume.graviton.mount(volume.data, point, "uid=1234", "gid=4321", "umask=027")
    info = (point / "f").stat()
    assert (info.st_uid, info.st_gid) == (1234, 4321)
    assert stat.S_IMODE(info.st_mode) & 0o027 == 0
    volume.graviton.unmount(mount, point)


def test_allow_other(volume: Shell, point: Path, users: tuple[User, ...]) -> None:
    volume.write("/f", b"for everyone")
    mount = volume.graviton.mount(volume.data, point)
    assert users[0].python("print(open(sys.argv[1]).read())", point / "f") == "EACCES"
    volume.graviton.unmount(mount, point)
    mount = volume.graviton.mount(volume.data, point, "allow_other")
    assert users[0].python("print(open(sys.argv[1]).read())", point / "f") == "for everyone"
    volume.graviton.unmount(mount, point)


def test_upload_and_download_limits(volume: Shell, point: Path) -> None:
    body = os.urandom(3 << 20)
    mount = volume.graviton.mount(volume.data, point, "upload-limit=4MiB")
    started = time.monotonic()
    with (point / "f").open("wb") as file:
        file.write(body)
        os.fsync(file.fileno())
    assert time.monotonic() - started > 0.4
    volume.graviton.unmount(mount, point)

    mount = volume.graviton.mount(volume.data, point, "download-limit=4MiB/s")
    started = time.monotonic()
    assert (point / "f").read_bytes() == body
    assert time.monotonic() - started > 0.4
    volume.graviton.unmount(mount, point)


def test_the_upload_limit_paces_small_files_and_nobody_else(volume: Shell, point: Path) -> None:
    """Their blocks go into the database, not into packs. What only looks does not wait meanwhile."""
    mount = volume.graviton.mount(volume.data, point, "upload-limit=256KiB")
    started = time.monotonic()
    slowest = 0.0
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(_write_synced, point, 32, 16 << 10)
        while not writing.done():
            looked = time.monotonic()
            os.listdir(point)
            slowest = max(slowest, time.monotonic() - looked)
            wait([writing], 0.01)
        writing.result()
    assert time.monotonic() - started > 1.5
    assert slowest < 1.0
    volume.graviton.unmount(mount, point)


def _write_synced(directory: Path, count: int, size: int) -> None:
    for number in range(count):
        with (directory / f"f{number}").open("wb") as file:
            file.write(os.urandom(size))
            file.flush()
            os.fsync(file.fileno())


@pytest.mark.parametrize("way", ["option", "environment"])
def test_memory_bounds_what_is_cached(volume: Shell, point: Path, way: str) -> None:
    volume.write("/f", os.urandom(32 << 20))
    if way == "option":
        mount = volume.graviton.mount(volume.data, point, "memory=24MiB")
    else:
        mount = volume.graviton.mount(volume.data, point, GRAVITON_MEMORY="24MiB")
    (point / "f").read_bytes()
    (rates,) = volume.run("stats", str(volume.data), "-n", "1", "-i", "0.1", "--json").splitlines()
    assert 0 < json.loads(rates)["cached_bytes"] <= 24 << 20
    volume.graviton.unmount(mount, point)


def test_timeout_ends_a_wait_for_the_store(volume: Shell, point: Path) -> None:
    """A store that takes hardly anything: writers wait so long and no longer, and what is kept is kept."""
    options = ("timeout=500ms", "memory=12MiB", "upload-limit=1MiB")
    mount = volume.graviton.mount(volume.data, point, *options)
    volume.graviton.allow_log("takes no more data")

    def write() -> None:
        with (point / "f").open("wb", buffering=0) as file:
            for _ in range(64):
                file.write(os.urandom(1 << 20))

    started = time.monotonic()
    with pytest.raises(OSError, match="Input/output"):
        write()
    assert time.monotonic() - started < 30
    mount.kill()


def test_metrics(volume: Shell, point: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    mount = volume.graviton.mount(volume.data, point, f"metrics={address}")
    (point / "f").write_bytes(os.urandom(1 << 20))
    os.stat(point / "f")

    def scraped() -> str:
        with urllib.request.urlopen(f"http://{address}/metrics") as answer:
            return str(answer.read().decode())

    # The kernel tells that the file is closed when it likes.
    wait_until(lambda: 'uploads_total{front_end="fuse"} 1.0' in scraped(), "the file is counted")
    text = scraped()
    labels = 'front_end="fuse",operation="create"'
    assert f"graviton_request_duration_seconds_count{{{labels}}} 1.0" in text
    bucket = [line for line in text.splitlines() if "seconds_bucket" in line and 'operation="create"' in line]
    assert bucket[-1].endswith(" 1.0")
    assert 'le="+Inf"' in bucket[-1]
    assert 'graviton_downloads_total{front_end="fuse"} 0.0' in text
    assert 'graviton_errors_total{class="no-space",front_end="fuse"} 0.0' in text
    gauges = ("graviton_storage_bytes", "graviton_storage_capacity", "graviton_dirty_bytes")
    for name in (*gauges, "graviton_blocks_stored_total", "graviton_dedupe_ratio", "graviton_errors_total"):
        assert re.search(rf"^{name}[ {{]", text, re.MULTILINE), name
    volume.graviton.unmount(mount, point)


def test_starting_a_mount_imports_no_gateway(volume: Shell) -> None:
    """Time to mount is import time: what a mount does not use stays out."""
    code = (
        "import sys\nfrom graviton_server.cli.mount import mount\nimport graviton_server.wiring\n"
        "import graviton_server.cli.serving\nimport gravitonfs.fuse.mount\nprint(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    unwanted = ("rich", "wsgidav", "cheroot", "graviton_webdav", "prometheus_client", "argon2", "bcrypt")
    assert not [name for name in unwanted if name in loaded]
