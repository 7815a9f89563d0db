"""``graviton`` and ``python -m graviton_server``: run a command, turn what goes wrong into a sentence."""

from __future__ import annotations

import errno
import os
import signal
import sys
from typing import NoReturn

DONE, FAILED, USAGE, DAMAGE = 0, 1, 2, 3
INTERRUPTED = 128 + signal.SIGINT


def main() -> NoReturn:
    status = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of a pipe has had enough; do not let the interpreter complain on its way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = status or FAILED
    sys.exit(status)


def run(arguments: list[str]) -> int:
    import click

    from graviton_server.cli.app import cli

    try:
        result = cli.main(arguments, prog_name="graviton", standalone_mode=False)
        return result if isinstance(result, int) else DONE
    except click.UsageError as error:
        error.show()
        return USAGE
    except (KeyboardInterrupt, click.Abort):
        _say("interrupted")
        return INTERRUPTED
    except click.exceptions.Exit as error:
        return error.exit_code
    except Exception as error:
        sentence = sentence_of(error)
        if sentence is None:
            raise
        if not isinstance(error, BrokenPipeError):
            _say(sentence)
        return FAILED


def sentence_of(error: BaseException) -> str | None:
    """What to tell a user; None: that is a mistake of ours, and its traceback is wanted."""
    import click

    from gravitonfs.errors import GravitonError

    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, GravitonError):
        return str(error)
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return "interrupted"
    if isinstance(error, OSError):
        return _os_sentence(error)
    return None


def _os_sentence(error: OSError) -> str:
    what = error.strerror or str(error)
    if error.errno == errno.ENOSPC:
        what += ": free some space and run the command again"
    name = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else None
    return f"{name}: {what}" if name else what


def _say(sentence: str) -> None:
    text = f"graviton: {sentence}".encode("utf-8", "backslashreplace")
    try:
        sys.stderr.buffer.write(text + b"\n")
        sys.stderr.flush()
    except (BrokenPipeError, ValueError):
        pass


if __name__ == "__main__":
    main()
