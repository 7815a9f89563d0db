"""Runs the blocks of a page in order: its shell blocks in one shell, as a reader does."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from documentation.blocks import Block, blocks, console
from harness.places import unmount_below
from harness.ports import free_port
from harness.waiting import wait_until

FOR_USERS = ("installation.md", "quick-start.md", "command-line.md", "python.md")
FOR_OPERATORS = ("recovery-drills.md", "security.md")
PORTS = ("8080", "8081", "50051")
LANGUAGES = ("sh", "console", "python")


@dataclass(frozen=True)
class Step:
    where: str
    command: str
    shown: str | None
    """What the page shows of the output; nothing of a command that is not followed by any is checked."""
    status: int = 0


def steps(page: Path) -> list[Step]:
    return [
        one
        for block in blocks(page)
        if block.language in LANGUAGES and not block.not_run
        for one in _of(block)
    ]


def _of(block: Block) -> list[Step]:
    if block.language == "sh":
        return [Step(str(block), block.text, None)]
    if block.language == "python":
        return [Step(str(block), f"python - <<'END_OF_PROGRAM'\n{block.text}\nEND_OF_PROGRAM", None)]
    found: list[Step] = []
    for command, shown in console(block.text):
        if command == "echo $?":  # tells the status of the command above
            found[-1] = Step(found[-1].where, found[-1].command, found[-1].shown, int(shown))
        else:
            found.append(Step(str(block), command, shown))
    return found


def walk(page: Path, scratch: Path) -> None:
    """Fails where a command fails, or shows something else than the page does."""
    ports = {shown: str(free_port()) for shown in PORTS}
    script = ["exec 2>&1", "trap 'echo @@ failed' EXIT"]
    found = steps(page)
    for number, step in enumerate(found):
        script += [f"printf '\\n@@ %d\\n' {number}", _replace(step.command, ports)]
        if step.shown is None:  # several commands, each of which has to succeed
            script[-1] = f"set -e\n{script[-1]}\nset +e"
        else:
            script += [f"[ $? -eq {step.status} ] || exit 1"]
    script += ["trap - EXIT"]
    output = scratch / "output-of-the-page"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GRAVITON_")}
    environment |= {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "XDG_CACHE_HOME": str(scratch / "cache-home"),
        "XDG_STATE_HOME": str(scratch / "state-home"),
    }
    place = scratch / "place"
    place.mkdir()
    with output.open("wb") as sink:
        shell = subprocess.Popen(
            ["bash", "-c", "\n".join(script)],
            cwd=place, env=environment, stdin=subprocess.DEVNULL, stdout=sink, start_new_session=True,
        )  # fmt: skip
        status = None
        try:
            status = shell.wait(200)
        except subprocess.TimeoutExpired:
            pass  # what came until then tells where it waits
        finally:
            _end(shell, place)
    told = _replace(output.read_text(), {mine: shown for shown, mine in ports.items()})
    _compare(found, told, status)


def _end(shell: subprocess.Popen[bytes], place: Path) -> None:
    """Whatever the page has started and not ended, where it failed."""
    unmount_below(place)
    try:
        os.killpg(shell.pid, signal.SIGTERM)
    except ProcessLookupError:
        return
    shell.wait(30)
    wait_until(lambda: not _members(shell.pid), "what the page has started to end", 30)


def _members(group: int) -> list[str]:
    """Processes of the shell's group. Mounts have groups of their own, and have ended with the mount."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, process_group = stat.read_text().rpartition(")")[2].split()[:3]
            if process_group == str(group) and state != "Z":
                found.append(stat.parent.name)
    return found


def _compare(found: list[Step], told: str, status: int | None) -> None:
    parts = re.split(r"\n@@ \d+\n", told)[1:]
    for step, part in zip(found, parts, strict=False):
        assert "@@ failed" not in part, f"{step.where}: {step.command}\n{part}"
        assert "Traceback" not in part, f"{step.where}: {step.command}\n{part}"
        if step.shown is not None:
            pattern = ".*".join(re.escape(one) for one in step.shown.split("…"))
            printed = part.removesuffix("\n")
            assert re.fullmatch(pattern, printed, re.DOTALL), f"{step.where}: {step.command}\n{printed}"
    assert status == 0, told[-2000:]
    assert len(parts) == len(found)


def _replace(text: str, ports: dict[str, str]) -> str:
    for old, new in ports.items():
        text = re.sub(rf"(?<=:){old}\b", new, text)
    return text
