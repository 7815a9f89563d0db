"""What code blocks of all pages show is well formed, and exists."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

from documentation.blocks import ROOT, Block, all_blocks, console
from graviton_server.cli.app import cli
from graviton_server.config.document import ConfigProblems
from graviton_server.config.load import load

LANGUAGES = {
    "sh", "console", "bat", "python", "hocon", "json", "yaml", "toml", "mermaid", "text", "sql", "proto",
}  # fmt: skip
_OPERATORS = {"&&", "||", "|", ";", "&", ">", ">>", "<", "2>", "(", ")", ">&"}
DECISIONS = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
_HERE = re.compile(r"<<'(\w+)'\n.*?\n\1$", re.DOTALL | re.MULTILINE)


def identified(block: Block) -> str:
    return str(block)


def test_each_block_names_its_language() -> None:
    assert {str(block): block.language for block in all_blocks() if block.language not in LANGUAGES} == {}


def _hocon() -> list[Block]:
    return all_blocks("hocon")


@pytest.mark.parametrize("block", _hocon(), ids=identified)
def test_configuration_is_taken(block: Block, tmp_path: Path) -> None:
    """Parts of a file are shown without ``graviton`` around them."""
    text = block.text if block.text.lstrip().startswith("graviton") else f"graviton {{\n{block.text}\n}}"
    file = tmp_path / "graviton.conf"
    file.write_text(text)
    environment = {"GRAVITON_S3_BUCKET": "bucket", "AWS_REGION": "region", "PG_PASSWORD": "secret"}
    if "password" not in text:
        del environment["PG_PASSWORD"]
    if "S3_BUCKET" not in text:
        del environment["GRAVITON_S3_BUCKET"], environment["AWS_REGION"]
    try:
        loaded = load(str(file), environment)
    except ConfigProblems as problems:
        pytest.fail(f"{block}: {problems}")
    assert not loaded.warnings, loaded.warnings


def test_data_can_be_read() -> None:
    for block in all_blocks("json"):
        json.loads(block.text)
    for block in all_blocks("yaml"):
        list(yaml.safe_load_all(block.text))
    for block in all_blocks("toml"):
        tomllib.loads(block.text)


def test_programs_compile() -> None:
    blocks = all_blocks("python")
    assert len(blocks) > 5
    for block in blocks:
        compile(block.text, str(block), "exec")


def _scripts() -> Iterator[tuple[Block, str]]:
    for block in all_blocks("sh", "console"):
        yield (
            block,
            block.text if block.language == "sh" else "\n".join(one for one, _ in console(block.text)),
        )


def test_scripts_are_bash() -> None:
    for block, script in _scripts():
        done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{block}: {done.stderr}"


def _commands() -> Iterator[tuple[Block, list[str]]]:
    """Each call of ``graviton`` in a shell block, as its words."""
    for block, script in _scripts():
        for line in _HERE.sub("", script).replace("\\\n", " ").splitlines():
            lexer = shlex.shlex(line, posix=True, punctuation_chars="();<>|&")
            lexer.whitespace_split = True
            words: list[str] = []
            for word in [*lexer, ";"]:
                if word not in _OPERATORS and not set(word) <= set("();<>|&"):
                    words.append(word)
                    continue
                if words and (found := _of_graviton(words)):
                    yield block, found
                words = []


def _of_graviton(words: list[str]) -> list[str] | None:
    """What comes behind the program's name, where the program is what is called."""
    if words[0] == "kubectl" and "--" in words:
        words = words[words.index("--") + 1 :]
    elif words[:3] == ["docker", "compose", "exec"]:
        words = words[4:]
    if words and words[0].rpartition("/")[2] == "graviton":
        return words[1:]
    return None


def _check(words: list[str]) -> None:
    """Raises what click says about a command or an option that is not there, or too many or few arguments."""
    context, command = click.Context(cli, info_name="graviton", **cli.context_settings), cli
    while isinstance(command, click.Group):
        if words[0] in ("--help", "--version"):
            return
        found = command.get_command(context, words[0])
        if found is None:
            raise click.UsageError(f"there is no command {words[0]}")
        command, context, words = found, click.Context(found, info_name=words[0], parent=context), words[1:]
    given, rest, _ = command.make_parser(context).parse_args(list(words))
    if rest:
        raise click.UsageError(f"{rest} is too much")
    wanted = [one for one in command.params if isinstance(one, click.Argument) and one.required]
    missing = [one.name for one in wanted if not _is_given(given.get(one.name or ""))]
    if missing:
        raise click.UsageError(f"{missing} is missing")


def _is_given(value: object) -> bool:
    """Click has a mark of its own for what is not."""
    return isinstance(value, str | tuple | list) and bool(value)


def test_commands_and_their_options_exist() -> None:
    wrong = []
    called: Counter[str] = Counter()
    for block, words in _commands():
        try:
            _check([word for word in words if word not in ("[FILE]",)])
        except click.UsageError as error:
            wrong.append(f"{block}: graviton {shlex.join(words)}: {error.format_message()}")
        called[words[0]] += 1
    assert wrong == []
    assert called.total() > 80
    assert len(called) > 15


def test_a_wrong_command_is_noticed() -> None:
    """The check itself: it is of use only while it can fail."""
    for words in (
        ["nothing"],
        ["fsck", "--nothing", "DATA"],
        ["fsck"],
        ["fsck", "A", "B"],
        ["token", "make"],
    ):
        with pytest.raises(click.UsageError):
            _check(words)


def test_symptoms_are_what_the_code_says() -> None:
    """What troubleshooting quotes stands in a message of the code, or is of the system."""
    system = {"Transport endpoint is not connected", "Permission denied"}
    text = (ROOT / "docs" / "troubleshooting.md").read_text()
    first = [row.split("|")[1] for row in text.splitlines() if row.startswith("| ")]
    quoted = {one for cell in first for one in re.findall(r"`([^`]+)`", cell) if " " in one} - system
    assert len(quoted) > 15
    sources = "".join(
        re.sub(r'"\s*\n\s*f?"', "", path.read_text())
        for folder in ("gravitonfs", "server", "webdav")
        for path in (ROOT / folder).rglob("*.py")
    )
    parts = {quote: [part.strip() for part in quote.split("…")] for quote in quoted}
    assert {quote for quote, each in parts.items() if not all(part in sources for part in each)} == set()


def test_references_are_current(tmp_path: Path) -> None:
    from graviton_server.http_api.reference import render

    docs = ROOT / "docs"
    run = "run: python -m graviton_server.http_api.reference > docs/http-reference.md"
    assert (docs / "http-reference.md").read_text() == render(), run
    tool = ROOT / "tools" / "grpc_reference.py"
    made = subprocess.run([sys.executable, tool], capture_output=True, text=True, check=True).stdout
    assert (docs / "grpc-reference.md").read_text() == made, f"run: python {tool.relative_to(ROOT)}"


def test_the_site_is_built(tmp_path: Path) -> None:
    """All pages are in its navigation (decisions by their list), and no link of it is broken."""
    for name in ("docs", "zensical.toml"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    program = Path(sys.executable).parent / "zensical"
    built = subprocess.run(
        [program, "build", "--strict"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr
    settings = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]
    site = tmp_path / settings["site_dir"]
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    listed = pages - {str(page.relative_to(ROOT / "docs")) for page in DECISIONS}
    assert set(_in_navigation(settings["nav"])) == listed, "the navigation is in zensical.toml"
    assert all((site / page).with_suffix(".html").exists() for page in pages - {"adr/README.md"})


def _in_navigation(entries: list[dict[str, object]]) -> Iterator[str]:
    for entry in entries:
        for below in entry.values():
            if isinstance(below, list):
                yield from _in_navigation(below)
            else:
                yield str(below)
