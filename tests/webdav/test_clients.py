"""Programs that people use: litmus, cadaver, rclone, davfs2 and GNOME's gvfs, each as it comes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from graviton_webdav.app import WebDavServer
from graviton_webdav.passwords import set_password
from gravitonfs.content.volume import Volume
from harness.dav import Client

USER, PASSWORD = "ann", "secret"
DATA = os.urandom(3_000_000)


def program(name: str) -> str:
    """A program's path; tests of those that are not installed are skipped."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def run(command: list[str], cwd: Path, text: str = "", **environment: str) -> str:
    """What a command prints; fails the test where the command fails."""
    done = subprocess.run(
        command,
        cwd=cwd,
        input=text.encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=100,
        check=False,
        env={**os.environ, **environment},
    )
    output = done.stdout.decode("utf-8", "replace")
    assert done.returncode == 0, output
    return output


@pytest.fixture(scope="module")
def guarded(volume: Volume, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDavServer]:
    """As ``server``, with a password."""
    users = tmp_path_factory.mktemp("users") / "users"
    set_password(users, USER, PASSWORD)
    with WebDavServer(volume, port=0, users_file=users) as running:
        yield running


@pytest.mark.parametrize("password", [False, True])
def test_litmus_has_no_failure_and_no_warning(
    server: WebDavServer, guarded: WebDavServer, tmp_path: Path, password: bool
) -> None:
    litmus = program("litmus")
    command = [litmus, guarded.url, USER, PASSWORD] if password else [litmus, server.url]
    output = run(command, tmp_path)
    summaries = re.findall(r"summary for `(\w+)': of (\d+) tests run: (\d+) passed, (\d+) failed", output)
    assert [name for name, *_ in summaries] == ["basic", "copymove", "props", "locks", "http"]
    assert all(passed == count and failed == "0" for _, count, passed, failed in summaries), output
    assert "WARNING" not in output, output


def test_cadaver(server: WebDavServer, dav: Client, home: str, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(DATA)
    script = f"""cd {home}
mkcol sub
cd sub
put in
copy in two
move two three
lock three
discover three
unlock three
propset in colour blue
propget in colour
get in out
delete three
ls
quit
"""
    output = run([program("cadaver"), server.url], tmp_path, script, HOME=str(tmp_path))
    assert "failed" not in output, output
    assert "Value of colour is: blue" in output
    assert "Lock token" in output
    assert (tmp_path / "out").read_bytes() == DATA
    assert dav("GET", f"{home}sub/in").body == DATA
    assert dav("GET", f"{home}sub/three").status == 404


def test_rclone(guarded: WebDavServer, home: str, tmp_path: Path) -> None:
    rclone = program("rclone")
    source = tmp_path / "source"
    (source / "deep" / "er").mkdir(parents=True)
    for index in range(50):
        (source / f"file {index} ü#%&.txt").write_bytes(DATA[: index * 997])
    (source / "deep" / "er" / "big").write_bytes(DATA)
    (tmp_path / "config").touch()
    obscured = run([rclone, "obscure", PASSWORD], tmp_path).strip()
    environment = {
        "RCLONE_CONFIG": str(tmp_path / "config"),
        "RCLONE_CONFIG_DAV_TYPE": "webdav",
        "RCLONE_CONFIG_DAV_URL": guarded.url,
        "RCLONE_CONFIG_DAV_VENDOR": "other",
        "RCLONE_CONFIG_DAV_USER": USER,
        "RCLONE_CONFIG_DAV_PASS": obscured,
    }
    remote = f"dav:{home}tree"

    def rc(*arguments: str) -> str:
        return run([rclone, *arguments], tmp_path, **environment)

    rc("copy", str(source), remote)
    rc("check", "--download", str(source), remote)
    rc("copy", remote, str(tmp_path / "back"))
    rc("check", str(source), str(tmp_path / "back"))
    rc("move", f"{remote}/deep", f"dav:{home}moved")
    assert rc("lsf", "-R", f"dav:{home}moved").split() == ["er/", "er/big"]
    rc("copyto", f"dav:{home}moved/er/big", f"dav:{home}clone")
    assert f"({len(DATA)} Byte" in rc("size", f"dav:{home}clone")
    rc("purge", remote)
    assert rc("lsf", f"dav:{home}").split() == ["clone", "moved/"]


def test_rclone_as_nextcloud_keeps_times(server: WebDavServer, home: str, tmp_path: Path) -> None:
    rclone = program("rclone")
    file = tmp_path / "dated"
    file.write_bytes(b"bytes")
    os.utime(file, (1_000_000_000, 1_000_000_000))
    (tmp_path / "config").touch()
    environment = {
        "RCLONE_CONFIG": str(tmp_path / "config"),
        "RCLONE_CONFIG_DAV_TYPE": "webdav",
        "RCLONE_CONFIG_DAV_URL": server.url,
        "RCLONE_CONFIG_DAV_VENDOR": "owncloud",
    }
    run([rclone, "copy", str(file), f"dav:{home}"], tmp_path, **environment)
    listed = run([rclone, "lsjson", f"dav:{home}"], tmp_path, **environment)
    assert "2001-09-09T01:46:40" in listed


@pytest.mark.mount
def test_davfs2(server: WebDavServer, dav: Client, home: str, tmp_path: Path) -> None:
    """With explicit names: its listings fail on new kernels, whatever the server."""
    mount = program("mount.davfs")
    if os.geteuid() != 0:
        pytest.skip("only root can mount with davfs2")
    point = tmp_path / "mnt"
    point.mkdir()
    config = tmp_path / "davfs2.conf"
    config.write_text("use_locks 1\nask_auth 0\ndelay_upload 0\n")
    run([mount, "-o", f"conf={config}", server.url, str(point)], tmp_path)
    try:
        here = point / home.strip("/")
        (here / "sub").mkdir()
        (here / "sub" / "big").write_bytes(DATA)
        assert (here / "sub" / "big").read_bytes() == DATA
        (here / "sub" / "big").rename(here / "sub" / "renamed")
        (here / "note").write_text("one\n")
        with (here / "note").open("a") as file:
            file.write("two\n")
        (here / "gone").write_text("x")
        (here / "gone").unlink()
    finally:
        run(["umount", str(point)], tmp_path)
    assert dav("GET", f"{home}sub/renamed").body == DATA
    assert dav("GET", f"{home}note").body == b"one\ntwo\n"
    assert dav("GET", f"{home}gone").status == 404
    assert dav("GET", f"{home}sub/big").status == 404
    assert dav("PUT", f"{home}note", b"no lock is left").status == 204


GIO = """
set -e
gio mount "$1" < /dev/null
gio mkdir "$1$2/sub"
gio copy in "$1$2/sub/one"
gio move "$1$2/sub/one" "$1$2/sub/two"
gio list -l "$1$2/sub"
gio info -a etag::value,standard::size "$1$2/sub/two"
gio cat "$1$2/sub/two" > out
gio copy "$1$2/sub/two" "$1$2/three"
gio remove "$1$2/sub/two"
gio list "$1$2"
gio mount -u "$1"
"""


def test_gnome(server: WebDavServer, dav: Client, home: str, tmp_path: Path) -> None:
    program("gio")
    if not any(Path(place, "gvfsd-dav").exists() for place in ("/usr/libexec", "/usr/lib/gvfs")):
        pytest.skip("the gvfs backends are not installed")
    (tmp_path / "in").write_bytes(DATA)
    (tmp_path / "run").mkdir(mode=0o700)
    output = run(
        [
            program("dbus-run-session"),
            "--",
            "bash",
            "-c",
            GIO,
            "gio",
            server.url.replace("http:", "dav:"),
            home.strip("/"),
        ],
        tmp_path,
        HOME=str(tmp_path),
        XDG_RUNTIME_DIR=str(tmp_path / "run"),
        GVFS_DISABLE_FUSE="1",
    )
    assert f"two\t{len(DATA)}\t(regular)" in output
    assert f"standard::size: {len(DATA)}" in output
    assert (tmp_path / "out").read_bytes() == DATA
    assert dav("GET", f"{home}three").body == DATA
    assert dav("GET", f"{home}sub/two").status == 404
