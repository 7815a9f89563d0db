"""Systems with names in PostgreSQL and data in S3, all on the same two servers.

Cold means for each: unmounted, everything it keeps on the local disk deleted (Graviton's block index too: it
comes back as a machine that never saw the volume), the kernel's caches dropped; the daemon has been
restarted with an empty directory as well.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.benchmarks.backends import Place
from tests.benchmarks.environment import program
from tests.benchmarks.systems import System, drop_kernel_caches, peak_memory

GRAVITON = [sys.executable, "-m", "graviton_server"]


class SharedSystem(System):
    """One volume with a database and a bucket of its own."""

    def __init__(self, home: Path) -> None:
        from harness.buckets import CREDENTIALS

        super().__init__(home)
        self.place = Place()
        os.environ.update(CREDENTIALS)

    def stored_bytes(self) -> int:
        """What was sent to the bucket."""
        return self.place.traffic().received

    @property
    def caching(self) -> list[str]:
        """Where Graviton's mounts cache: its default, but here."""
        return ["-o", f"cache-dir={self.home}/cache"]

    def clear_caches(self) -> None:
        shutil.rmtree(self.home / "cache", ignore_errors=True)

    def requests(self) -> int:
        return self.place.traffic().requests

    def close(self) -> None:
        super().close()
        self.place.close()


class JuiceFsOnPostgres(SharedSystem):
    """Its default options."""

    name = "juicefs-pg"
    title = "JuiceFS"

    def prepare(self) -> None:
        from harness.s3server import ACCESS_KEY, SECRET_KEY

        command = [
            program("juicefs"), "format", "--no-update", "--storage", "s3", "--bucket", self.place.bucket_url,
            "--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY, self.place.juicefs_meta, "bench",
        ]  # fmt: skip
        if self.spawn(command).wait(60):
            raise RuntimeError(f"juicefs format failed:\n{self.log.read_text()[-2000:]}")

    def command(self) -> list[str]:
        return [
            program("juicefs"), "mount", "--no-usage-report", "--no-syslog", "--cache-dir",
            f"{self.home}/cache", self.place.juicefs_meta, str(self.point),
        ]  # fmt: skip


class DirectMount(SharedSystem):
    """``graviton mount CONFIG DIR``: the mount is an engine."""

    name = "direct"
    title = "Graviton, direct"

    def prepare(self) -> None:
        (self.home / "graviton.conf").write_text(self.place.configuration(self.data))

    def command(self) -> list[str]:
        return [*GRAVITON, "mount", str(self.home / "graviton.conf"), str(self.point), "-f", *self.caching]

    def clear_caches(self) -> None:
        super().clear_caches()
        shutil.rmtree(self.data)


class Daemon:
    """``graviton serve`` on what a configuration file says."""

    def __init__(self, config: Path, home: Path, log: Path, environment: dict[str, str]) -> None:
        self._output = home / "daemon.out"
        with self._output.open("wb") as out, log.open("ab") as err:
            ports = ["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"]
            self._process = subprocess.Popen(
                [*GRAVITON, "serve", "--config", str(config), *ports],
                stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=home, env={**os.environ, **environment},
            )  # fmt: skip
        self.address = self._ready(log)

    def _ready(self, log: Path) -> str:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self._process.poll() is None:
            if found := re.search(r"^ready .*\bgrpc=(\S+)", self._output.read_text(), re.MULTILINE):
                return found[1]
            time.sleep(0.005)
        self._process.kill()
        raise RuntimeError(f"the daemon is not ready:\n{log.read_text()[-2000:]}")

    @property
    def pid(self) -> int:
        return self._process.pid

    def peak(self) -> int:
        return peak_memory(self._process.pid)

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(300)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise


class RemoteMount(SharedSystem):
    """``graviton serve`` and a mount of ``graviton://``."""

    name = "remote"
    title = "Graviton, remote"

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.daemon: Daemon | None = None
        self.environment: dict[str, str] = {}
        """Of the daemon, beside ours."""

    def prepare(self) -> None:
        (self.home / "graviton.conf").write_text(self.place.configuration(self.data))
        self.start_daemon()

    def start_daemon(self) -> Daemon:
        self.daemon = Daemon(self.home / "graviton.conf", self.home, self.log, self.environment)
        return self.daemon

    def stop_daemon(self) -> None:
        if self.daemon is not None:
            self.note_peak()
            daemon, self.daemon = self.daemon, None
            daemon.stop()

    def command(self) -> list[str]:
        assert self.daemon is not None
        source = f"graviton://{self.daemon.address}/main"
        return [*GRAVITON, "mount", source, str(self.point), "-f", *self.caching]

    def note_peak(self) -> None:
        super().note_peak()
        if self.daemon is not None:
            self.other_peaks["daemon"] = max(self.other_peaks.get("daemon", 0), self.daemon.peak())

    def restart_daemon_cold(self) -> None:
        self.stop_daemon()
        shutil.rmtree(self.data)
        drop_kernel_caches()
        self.start_daemon()

    def cold(self) -> None:
        self.unmount()
        self.clear_caches()
        self.restart_daemon_cold()
        self.mount()

    def close(self) -> None:
        try:
            self.stop_daemon()
        finally:
            super().close()


SHARED_SYSTEMS: dict[str, type[SharedSystem]] = {
    kind.name: kind for kind in (JuiceFsOnPostgres, DirectMount, RemoteMount)
}
SHARED_BASE = JuiceFsOnPostgres.name
