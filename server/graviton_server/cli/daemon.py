"""Going into the background: the command returns when the process that stays behind answers."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from gravitonfs.errors import Unavailable

LOG_NAME = "mount.log"
_LOG_MAX = 8 << 20
_READY, _FAILED = b"+", b"-"

Ready = Callable[[], None]


def in_background(log: Path, serve: Callable[[Ready], None]) -> int:
    """Run ``serve`` in a process of its own session and return its pid once it has called its argument.

    Raises what it failed with before. Its output goes to ``log``. Call it before any thread is started.
    """
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _stay(log, serve, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as answers:
        try:
            answer = answers.read()
        except KeyboardInterrupt:
            os.kill(pid, signal.SIGTERM)
            raise
    if answer.startswith(_READY):
        return pid
    os.waitpid(pid, 0)
    if answer.startswith(_FAILED):
        raise Unavailable(answer[1:].decode(errors="replace"))
    raise Unavailable(f"the process ended before the mount answered: see {log}")


def _stay(log: Path, serve: Callable[[Ready], None], writer: int) -> NoReturn:
    """The child: never returns into the command's own code."""
    from graviton_server.__main__ import DONE, FAILED, sentence_of

    answered = False

    def ready() -> None:
        nonlocal answered
        answered = True
        os.write(writer, _READY)
        os.close(writer)

    status = FAILED
    try:
        os.setsid()
        _redirect(log)
        os.chdir("/")
        serve(ready)
        status = DONE
    except BaseException as error:  # the process ends here, whatever it was
        sentence = sentence_of(error)
        if sentence is None:
            import logging

            logging.getLogger("graviton").exception("the mount process failed")
            sentence = f"it failed inside: {error!r}"
        else:
            print(f"graviton: {sentence}", file=sys.stderr)
        if not answered:
            os.write(writer, _FAILED + sentence.encode(errors="replace"))
    finally:
        sys.stderr.flush()
        os._exit(status)


def _redirect(log: Path) -> None:
    if log.exists() and log.stat().st_size > _LOG_MAX:
        log.replace(log.with_suffix(".log.1"))
    null = os.open(os.devnull, os.O_RDONLY)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(null, 0)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.close(null)
    os.close(out)
