"""Commands and programs of the pages for users are run, in the order of the page."""

from __future__ import annotations

from pathlib import Path

import pytest

from documentation.blocks import ROOT, all_blocks
from documentation.walk import FOR_OPERATORS, FOR_USERS, LANGUAGES, steps, walk

NOT_RUN = 4
"""Blocks of pages that are run which no test runs; each has its reason above it. A new one is a decision."""

ELSEWHERE = {
    "README.md": "tests/repository/test_readme.py",
    "CONTRIBUTING.md": "runs the tests themselves",
    "docs/backup.md": "tests/backup: it needs PostgreSQL and a bucket",
    "docs/configuration.md": "tests/config/test_commands.py",
    "docs/docker.md": "tests/deploy/test_docker.py: it needs images",
    "docs/format/backup.md": "tests/backup/test_archive.py: it names a manifest",
    "docs/grpc.md": "tests/rpc/test_mount.py: it names machines",
    "docs/http-api.md": "tests/http_api: it shows digests in short",
    "docs/kubernetes.md": "tests/deploy/test_kubernetes.py: it needs a cluster",
    "docs/maintenance.md": "tests/cli/test_kept_dumps.py: it asks",
    "docs/monitoring.md": "tests/deploy/test_monitoring.py",
    "docs/mounts.md": "the quick start: these are the forms of one command",
    "docs/performance.md": "tests/cli/test_reports.py: some go on until Ctrl-C",
    "docs/replication.md": "tests/replication/test_daemon.py: it names disks",
    "docs/sharding.md": "tests/sharding/test_daemons.py: it names machines",
    "docs/systemd.md": "tests/deploy/test_systemd.py: it changes the machine",
    "docs/troubleshooting.md": "the quick start and the drills: SOURCE stands for any",
    "docs/webdav.md": "tests/webdav/test_auth.py: it asks for a password",
}
"""Pages whose commands are checked and not run from top to bottom: what runs them, and why this does not."""


@pytest.mark.mount
@pytest.mark.timeout(270)
@pytest.mark.parametrize("page", FOR_USERS)
def test_a_page_does_what_it_shows(page: str, scratch: Path) -> None:
    walk(ROOT / "docs" / page, scratch)


@pytest.mark.parametrize(
    "wrong",
    [
        "```console\n$ echo one\ntwo\n```\n",
        "```console\n$ echo one\n```\n",
        "```console\n$ false\n```\n",
        "```console\n$ false\n$ echo $?\n2\n```\n",
        "```sh\nfalse\ntrue\n```\n",
        "```python\nraise SystemExit(1)\n```\n",
    ],
)
def test_a_page_that_does_something_else_is_noticed(wrong: str, scratch: Path) -> None:
    page = scratch / "page.md"
    page.write_text(wrong)
    with pytest.raises(AssertionError, match=r"page\.md:1"):
        walk(page, scratch)


def test_what_is_not_run_is_counted() -> None:
    pages = {ROOT / "docs" / name for name in (*FOR_USERS, *FOR_OPERATORS)}
    runnable = [block for block in all_blocks(*LANGUAGES) if block.page in pages]
    assert len([block for block in runnable if block.not_run]) == NOT_RUN
    assert all(steps(page) for page in pages)


def test_every_other_page_says_what_runs_its_commands() -> None:
    walked = {ROOT / "docs" / name for name in (*FOR_USERS, *FOR_OPERATORS)}
    runnable = [block for block in all_blocks(*LANGUAGES) if not block.not_run]
    others = {str(block.page.relative_to(ROOT)) for block in runnable if block.page not in walked}
    assert others == set(ELSEWHERE)
    for named in ELSEWHERE.values():
        place = named.partition(":")[0]
        assert not place.startswith("tests/") or (ROOT / place).exists(), place
