"""The code blocks of the documentation."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOT_RUN = re.compile(r"<!-- not run: (\S.*) -->$")
"""Stands on the line above a block that no test runs, with the reason."""


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    language: str
    text: str
    not_run: str | None
    """Why no test runs it."""

    def __str__(self) -> str:
        return f"{os.path.relpath(self.page, ROOT)}:{self.line}"


def pages() -> list[Path]:
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    found: list[Block] = []
    above = ""
    opened: tuple[int, str, str, list[str]] | None = None
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if opened is None and (fence := re.match(r"( *)```(.*)$", line)):
            opened = (number, fence[1], fence[2].strip(), [])
        elif opened is not None and line == f"{opened[1]}```":
            start, indented, language, lines = opened
            reason = NOT_RUN.search(above)
            text = "\n".join(one.removeprefix(indented) for one in lines)
            found.append(Block(page, start, language, text, reason[1] if reason else None))
            opened = None
        elif opened is not None:
            opened[3].append(line)
        if opened is None or opened[0] != number:
            above = line if opened is None else above
    assert opened is None, f"{page.name}:{opened[0] if opened else 0} is not closed"
    return found


def all_blocks(*languages: str) -> list[Block]:
    return [one for page in pages() for one in blocks(page) if not languages or one.language in languages]


def console(text: str) -> list[tuple[str, str]]:
    """Commands of a ``console`` block, each with what is shown of its output."""
    steps: list[tuple[list[str], list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            steps.append(([line[2:]], []))
        elif not steps[-1][1] and steps[-1][0][-1].endswith("\\"):
            steps[-1][0].append(line)
        else:
            steps[-1][1].append(line)
    return [("\n".join(command), "\n".join(shown)) for command, shown in steps]
