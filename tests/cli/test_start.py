"""The command line itself: help, what it imports, usage errors, completion, documentation."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from graviton_server.cli.app import COMMANDS
from harness.programs import ROOT, Graviton, environment

HEAVY = (
    "rich", "msgspec", "trio", "pyfuse3", "rocksdict", "sqlite3", "cheroot", "blake3", "pyfastcdc",
    "graviton_server.wiring", "graviton_webdav", "gravitonfs.content", "prometheus_client",
)  # fmt: skip


def imported_by(*arguments: str) -> set[str]:
    """Modules in memory after a command has ended."""
    code = (
        "import sys\nfrom graviton_server.__main__ import run\n"
        f"run({list(arguments)!r})\nprint('|', *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    return set(done.stdout.rpartition("|")[2].split())


def test_help_imports_nothing_heavy() -> None:
    loaded = imported_by("--help")
    assert not [name for name in HEAVY if name in loaded]
    assert not [name for name in loaded if re.match(r"graviton_server\.cli\.(?!app$)", name)]


def test_help_lists_every_command_with_its_line(graviton: Graviton) -> None:
    text = graviton.run("--help").stdout.decode()
    for name, entry in COMMANDS.items():
        assert re.search(rf"^  {name}\s", text, re.MULTILINE), name
        assert entry.help.split(";")[0].rstrip(".") in " ".join(text.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_explains_itself(name: str) -> None:
    """In one process: this is about the texts."""
    from click.testing import CliRunner

    from graviton_server.cli.app import cli

    result = CliRunner().invoke(cli, [name, "--help"])
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: graviton {name} ")
    assert len(result.output.splitlines()) > 4


def test_the_manual_is_what_the_commands_say() -> None:
    from graviton_server.cli.manual import render

    written = (ROOT / "docs" / "cli.md").read_text()
    assert written == render(), "run: python -m graviton_server.cli.manual > docs/cli.md"
    for name in COMMANDS:
        assert f"## graviton {name}\n" in written


def test_wrong_usage_has_status_two(graviton: Graviton) -> None:
    assert b"No such command 'format'" in graviton.run("format", status=2).stderr
    assert b"Missing argument" in graviton.run("init", status=2).stderr
    assert b"No such option" in graviton.run("ls", "--frobnicate", "x", status=2).stderr
    assert b"is no size" in graviton.run("init", "d", "--block-min", "1 parsec", status=2).stderr
    assert b"HOST:PORT" in graviton.run("webdav", "d", "--listen", "8081", status=2).stderr
    assert b"nothing to serve" in graviton.run("up", "--data", "d", "--webdav", "off", status=2).stderr


def test_what_is_not_there_yet_is_refused_as_unknown(graviton: Graviton) -> None:
    assert b"is not known" in graviton.run("info", "s3://bucket", status=2).stderr
    told = graviton.run("info", "graviton://host:50051/main", status=2).stderr
    assert b"works on the volume's directory" in told
    refused = graviton.run("mount", "d", "m", "-o", "atomic=yes", status=2).stderr
    assert b"unknown mount option 'atomic'" in refused


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(graviton: Graviton, shell: str) -> None:
    script = graviton.run("completion", shell).stdout.decode()
    assert "_GRAVITON_COMPLETE" in script
    assert "graviton" in script


def complete(graviton: Graviton, *words: str) -> list[str]:
    """What bash would offer for the last of these words."""
    done = graviton.run(
        _GRAVITON_COMPLETE="bash_complete",
        COMP_WORDS=" ".join(["graviton", *words]),
        COMP_CWORD=str(len(words)),
    )
    return done.stdout.decode().splitlines()


def test_completion_of_commands_options_and_paths(graviton: Graviton) -> None:
    assert complete(graviton, "um") == ["plain,umount"]
    assert "plain,--recursive" in complete(graviton, "rm", "--rec")
    assert complete(graviton, "mount", "da") == ["dir,da"]
    assert complete(graviton, "put", "x") == ["file,x"]


def test_completion_looks_into_a_volume(graviton: Graviton) -> None:
    data = graviton.scratch / "data"
    graviton.run("init", data)
    graviton.run("mkdir", "-p", f"{data}:/music/live", f"{data}:/movies")
    offered = complete(graviton, "ls", f"{data}:/mu")
    assert offered == [f"plain,{data}:/music/"]


def test_version(graviton: Graviton) -> None:
    assert re.fullmatch(rb"graviton \d+\.\d+\.\d+\S*\n", graviton.run("--version").stdout)


def test_a_closed_pipe_is_no_error_report(graviton: Graviton) -> None:
    data = graviton.scratch / "data"
    graviton.run("init", data)
    graviton.run("put", "-", f"{data}:/big", stdin=bytes(8 << 20))
    script = f"{sys.executable} -m graviton_server cat {data}:/big | head -c 10 >/dev/null"
    done = subprocess.run(["bash", "-c", script], env=environment(), capture_output=True, check=True)
    assert done.stderr == b""


def test_json_logs(graviton: Graviton) -> None:
    import json

    data = graviton.scratch / "data"
    graviton.run("init", data)
    graviton.allow_log("address open")
    server = graviton.start(
        "--log-format", "json", "--log-level", "debug", "webdav", data, "--listen", "127.0.0.1:0"
    )
    server.ready_line()
    assert server.stop() == 0
    for line in server.log_text().splitlines():
        if line.startswith("{"):
            entry = json.loads(line)
            assert {"time", "level", "logger", "message"} <= entry.keys()


def test_sources_stay_small() -> None:
    for folder in ("cli", "control"):
        for path in (ROOT / "server" / "graviton_server" / folder).glob("*.py"):
            assert len(Path(path).read_text().splitlines()) <= 300, path
