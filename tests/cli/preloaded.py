"""A process that has imported everything and forks for each command: real processes, without the wait.

Started by ``Preloaded``; one request a line on standard input, one exit status a line on the output.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NoReturn

from harness.programs import ROOT, environment


class Preloaded:
    """The tests' side. Commands run one at a time."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        env = environment()
        env["PYTHONPATH"] += os.pathsep + str(ROOT / "tests")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "cli.preloaded"], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def run(
        self, arguments: Sequence[str], cwd: Path, stdin: bytes | None
    ) -> subprocess.CompletedProcess[bytes]:
        files = {name: str(self._scratch / name) for name in ("stdin", "stdout", "stderr")}
        Path(files["stdin"]).write_bytes(stdin or b"")
        request = {"arguments": list(arguments), "cwd": str(cwd), **files}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        status = int(self._process.stdout.readline())
        out, err = Path(files["stdout"]).read_bytes(), Path(files["stderr"]).read_bytes()
        return subprocess.CompletedProcess(list(arguments), status, out, err)

    def close(self) -> None:
        self._process.communicate(timeout=30)


def serve() -> None:
    """The other side, until its input ends."""
    import graviton_server.cli.app
    import graviton_server.control.handlers
    import graviton_server.control.server
    import graviton_server.wiring  # noqa: F401

    with os.fdopen(os.dup(0), "rb") as requests, os.fdopen(os.dup(1), "wb") as answers:
        _serve(requests, answers)


def _serve(requests: BinaryIO, answers: BinaryIO) -> None:
    for line in requests:
        child = os.fork()
        if child == 0:
            _become(json.loads(line))
        _, status = os.waitpid(child, 0)
        answers.write(b"%d\n" % os.waitstatus_to_exitcode(status))
        answers.flush()


def _become(request: dict[str, str]) -> NoReturn:
    from graviton_server.__main__ import main

    status = 70
    try:
        os.chdir(request["cwd"])
        for fd, (name, flags) in enumerate(
            (("stdin", os.O_RDONLY), ("stdout", os.O_WRONLY), ("stderr", os.O_WRONLY))
        ):
            os.dup2(os.open(request[name], flags | os.O_CREAT | (os.O_TRUNC if fd else 0), 0o600), fd)
        sys.argv = ["graviton", *request["arguments"]]
        main()
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:  # noqa: BLE001  # what Python itself would print
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    serve()
