"""The documents agree with the repository and with each other."""

from __future__ import annotations

import errno
import re
import subprocess
from pathlib import Path

import pytest

from gravitonfs.errors import STATUS

ROOT = Path(__file__).resolve().parents[2]
DECISIONS = ROOT / "docs" / "adr"
MADE_BY_COMMANDS = {ROOT / "docs" / "benchmarks.md"}
"""``make bench`` writes it; a clone may be without."""

_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)


def pages() -> list[Path]:
    """Every Markdown page of the repository, and of nobody else's packages beside it."""
    folders = [ROOT / name for name in ("docs", "deploy", "gravitonfs", "server", "webdav", "tests")]
    found = [*ROOT.glob("*.md"), *(page for folder in folders for page in folder.rglob("*.md"))]
    return sorted(found)


def prose(page: Path) -> str:
    return _CODE.sub("", _FENCED.sub("", page.read_text()))


def anchors(page: Path) -> set[str]:
    """The fragments that a page's headings answer to, as forges make them."""
    headings = _HEADING.findall(_FENCED.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in _LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if target in MADE_BY_COMMANDS and not target.exists():
            continue
        if not target.exists() or (fragment and fragment not in anchors(target)):
            broken.append(link)
    assert not broken


def test_every_page_is_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md" or not page.exists():
            continue
        reached.add(page)
        for link in _LINK.findall(prose(page)):
            if not re.match(r"[a-z]+:", link):
                waiting.append((page.parent / link.partition("#")[0]).resolve())
    assert {page for page in pages() if page.is_relative_to(ROOT / "docs")} <= reached


def test_decisions_are_numbered_and_listed() -> None:
    """Numbers are given out ahead to work that goes on side by side: some may be missing for a while."""
    listed = re.findall(r"^\| \[(\d+)\]\((\S+?)\) \|", (DECISIONS / "README.md").read_text(), re.MULTILINE)
    names = sorted(page.name for page in DECISIONS.glob("*.md") if page.name != "README.md")
    assert [name for _, name in listed] == names
    assert len({label for label, _ in listed}) == len(listed)
    for label, name in listed:
        number = int(label)
        assert name.startswith(f"{number:04}-")
        assert (DECISIONS / name).read_text().startswith(f"# {number}. ")


def test_what_code_says_is_documented_is() -> None:
    """Comments name pages; those have to be there."""
    for folder in ("gravitonfs", "server", "webdav"):
        for source in (ROOT / folder).rglob("*.py"):
            for name in re.findall(r"\bdocs/[\w/.-]+\.md\b", source.read_text()):
                page = ROOT / name
                assert page.exists() or page in MADE_BY_COMMANDS, f"{source.relative_to(ROOT)} names {name}"


def test_the_table_of_errors_is_that_of_the_code() -> None:
    text = (ROOT / "docs" / "semantics.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+)` \| `(E[A-Z0-9]+)` \| (\d+) \|", text, re.MULTILINE)
    documented = {kind: (getattr(errno, name), int(http)) for kind, name, http in rows}
    assert documented == {kind.value: (status.errno, status.http) for kind, status in STATUS.items()}
    assert len(rows) == len(documented)


def test_make_knows_the_targets_that_documents_name() -> None:
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        named = set(re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.MULTILINE))
        assert named <= known, f"{page.name} names {sorted(named - known)}"


def test_the_two_commands_stand_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    assert re.findall(r"^make ([a-z-]+)", readme, re.MULTILINE) == ["up", "test"]
    ci = (ROOT / ".ci" / "run").read_text()
    assert re.search(r"^exec make test\b", ci, re.MULTILINE)


def test_the_license_is_the_one_that_the_project_names() -> None:
    assert 'license = "Apache-2.0"' in (ROOT / "pyproject.toml").read_text()
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text


def test_documents_name_commands_that_exist() -> None:
    from graviton_server.cli.app import COMMANDS

    for page in pages():
        for name in re.findall(r"`graviton ([a-z]+)\b", page.read_text()):
            assert name in COMMANDS, f"{page.relative_to(ROOT)} names 'graviton {name}'"


def test_no_document_names_a_machine() -> None:
    """Paths of somebody's home or workplace say nothing to a reader."""
    tracked = subprocess.run(
        ["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    for name in tracked:
        assert not re.search(r"(?<![\w.])/(?:work|home|root|Users)/", (ROOT / name).read_text()), name
