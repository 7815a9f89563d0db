"""The file systems that are compared: each can be made, mounted, made cold and measured."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from tests.benchmarks.environment import ROOT, program

SOURCES = os.pathsep.join(str(ROOT / folder) for folder in (".", "gravitonfs", "server", "webdav"))


def drop_kernel_caches() -> None:
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")


def disk_usage(path: Path) -> int:
    """Bytes that the files below ``path`` occupy on the disk."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
            except FileNotFoundError:
                continue  # a log or a temporary file that went meanwhile
    return total


def peak_memory(pid: int) -> int:
    """The largest VmHWM of a process and its children, in bytes."""
    peaks = [0]
    pending = [pid]
    while pending:
        current = pending.pop()
        base = Path(f"/proc/{current}")
        try:
            for line in (base / "status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    peaks.append(int(line.split()[1]) * 1024)
            pending += map(int, (base / f"task/{current}/children").read_text().split())
        except OSError:
            continue
    return max(peaks)


class System:
    """One volume of one system, below ``home``."""

    name = ""
    title = ""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.point = home / "mnt"
        self.data = home / "data"
        self.log = home / "log"
        self.process: subprocess.Popen[bytes] | None = None
        self.start_seconds: list[float] = []
        self.peak = 0
        self.other_peaks: dict[str, int] = {}
        """Of processes beside the mount's."""
        for folder in (home, self.point, self.data):
            folder.mkdir(parents=True)

    def prepare(self) -> None:
        """Make the volume."""

    def command(self) -> list[str]:
        """What mounts it, in the foreground."""
        raise NotImplementedError

    def clear_caches(self) -> None:
        """Delete what the system caches on disk; it is unmounted."""

    def spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.home,
                env={**os.environ, "PYTHONPATH": SOURCES},
            )

    def mount(self) -> None:
        start = time.perf_counter()
        self.process = self.spawn(self.command())
        while not self.answers():
            if self.process.poll() is not None or time.perf_counter() - start > 60:
                raise RuntimeError(f"{self.name} did not mount:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.005)
        self.start_seconds.append(time.perf_counter() - start)

    def answers(self) -> bool:
        return os.path.ismount(self.point)

    def unmount(self) -> None:
        if self.process is None:
            return
        self.note_peak()
        subprocess.run(["umount", os.fspath(self.point)], check=True, timeout=300)
        self.process.wait(300)
        self.process = None

    def note_peak(self) -> None:
        if self.process is not None:
            self.peak = max(self.peak, peak_memory(self.process.pid))

    def cold(self) -> None:
        self.unmount()
        self.clear_caches()
        drop_kernel_caches()
        self.mount()

    def stored_bytes(self) -> int:
        return disk_usage(self.data)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            subprocess.run(["umount", "-l", os.fspath(self.point)], check=False, capture_output=True)
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
        shutil.rmtree(self.home)


class GravitonSystem(System):
    name = "graviton"
    title = "Graviton"

    def command(self) -> list[str]:
        volume = str(self.data / "volume")
        return [sys.executable, "-m", "graviton_server", "mount", volume, str(self.point), "-f"]

    def prepare(self) -> None:
        init = [sys.executable, "-m", "graviton_server", "init", str(self.data / "volume")]
        self.spawn(init).wait(60)

    def clear_caches(self) -> None:
        shutil.rmtree(self.data / "volume" / "cache", ignore_errors=True)


class JuiceFsSystem(System):
    """Its default options, with the metadata in SQLite and the data in a directory."""

    name = "juicefs"
    title = "JuiceFS"

    def _meta(self) -> str:
        return f"sqlite3://{self.home}/meta.db"

    def prepare(self) -> None:
        command = [
            program("juicefs"), "format", "--no-update", "--storage", "file", "--bucket", f"{self.data}/",
            self._meta(), "bench",
        ]  # fmt: skip
        if self.spawn(command).wait(60):
            raise RuntimeError(f"juicefs format failed:\n{self.log.read_text()[-2000:]}")

    def command(self) -> list[str]:
        return [
            program("juicefs"), "mount", "--no-usage-report", "--no-syslog", "--cache-dir",
            f"{self.home}/cache", self._meta(), str(self.point),
        ]  # fmt: skip

    def clear_caches(self) -> None:
        shutil.rmtree(self.home / "cache", ignore_errors=True)


class MemorySystem(System):
    """Cold means here only that the kernel's caches are dropped: what it has is in memory."""

    name = "memory"
    title = "do-nothing pyfuse3"

    def command(self) -> list[str]:
        return [sys.executable, "-m", "tests.benchmarks.memoryfs", str(self.point)]

    def cold(self) -> None:
        drop_kernel_caches()

    def stored_bytes(self) -> int:
        return 0


class SeaweedSystem(System):
    """master, volume server and filer in one process, and a mount of it."""

    name = "seaweedfs"
    title = "SeaweedFS"
    server: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:
        ports = ["-master.port=19333", "-volume.port=18080", "-filer.port=18888"]
        self.server = self.spawn(
            [
                program("weed"),
                "server",
                "-ip=127.0.0.1",
                f"-dir={self.data}",
                "-filer",
                "-volume.max=20",
                *ports,
            ]
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen("http://127.0.0.1:18888/", timeout=1).close()
                return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError("weed server does not answer")

    def command(self) -> list[str]:
        return [
            program("weed"), "mount", "-filer=127.0.0.1:18888", f"-dir={self.point}",
            f"-cacheDir={self.home}/cache",
        ]  # fmt: skip

    def clear_caches(self) -> None:
        shutil.rmtree(self.home / "cache", ignore_errors=True)

    def close(self) -> None:
        if self.process is not None:
            subprocess.run(["umount", "-l", os.fspath(self.point)], check=False, capture_output=True)
            self.process.terminate()
            self.process.wait(60)
            self.process = None
        if self.server is not None:
            self.server.terminate()
            self.server.wait(60)
        super().close()


SYSTEMS: dict[str, type[System]] = {
    kind.name: kind for kind in (JuiceFsSystem, GravitonSystem, MemorySystem, SeaweedSystem)
}
