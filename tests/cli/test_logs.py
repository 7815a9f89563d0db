"""Logs: where they go, and what one line of them is."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from graviton_server import logs


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before
    for name in logs.OURS:
        logging.getLogger(name).setLevel(logging.NOTSET)


def test_a_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup("info", "json")
    logging.getLogger("graviton.test").info("stored %d", 7, extra={"fields": {"path": "/a"}})
    try:
        raise ValueError("wrong")
    except ValueError:
        logging.getLogger("graviton.test").exception("broken")
    captured = capsys.readouterr()
    first, second = (json.loads(line) for line in captured.err.splitlines())
    assert captured.out == ""
    assert first["message"] == "stored 7"
    assert first["level"] == "info"
    assert first["path"] == "/a"
    assert first["time"].endswith("Z")
    assert "ValueError: wrong" in second["exception"]


def test_levels_and_other_libraries(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup("info", "human")
    logging.getLogger("graviton.test").debug("unseen")
    logging.getLogger("graviton.test").info("seen")
    logging.getLogger("chatty.library").info("unseen as well")
    logging.getLogger("chatty.library").warning("seen, too")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == ["INFO seen", "WARNING seen, too"]


def test_the_environment_chooses(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("GRAVITON_LOG_LEVEL", "DEBUG")
    assert logs.level_from_environment() == "debug"
    monkeypatch.setenv("GRAVITON_LOG_LEVEL", "shouting")
    assert logs.level_from_environment() is None
    monkeypatch.setenv("GRAVITON_ENV", "production")
    logs.setup("warning")
    logging.getLogger("graviton").warning("in JSON")
    assert json.loads(capsys.readouterr().err)["message"] == "in JSON"


def test_answers_nobody_waits_for_are_no_errors(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup("info", "human")
    fuse = logging.getLogger("pyfuse3._pyfuse3")
    fuse.error("fuse_release(): fuse_reply_* failed with %s", "No such file or directory")
    fuse.error("fuse_read(): fuse_reply_* failed with %s", "Invalid argument")
    assert "Invalid argument" in capsys.readouterr().err.splitlines()[0]
