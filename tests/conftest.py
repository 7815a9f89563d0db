"""Fixtures that every suite may use."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from harness.places import make_scratch, unmount_below
from harness.postgres import PostgresServer, debian_binaries
from harness.programs import Graviton
from harness.s3server import S3Server
from harness.users import User, ordinary_users

pytest.register_assert_rewrite("gravitonfs.testing")  # before any of it is imported


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("mount") and not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("/dev/fuse cannot be opened here")


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A directory on a real disk, walkable by every user; what is mounted below goes with it."""
    path = make_scratch()
    yield path
    unmount_below(path)
    shutil.rmtree(path)


@pytest.fixture
def graviton(scratch: Path) -> Iterator[Graviton]:
    """Runs ``graviton`` in ``scratch``. An error or a warning in a log fails the test."""
    runner = Graviton(scratch)
    yield runner
    runner.close()
    troubles = runner.troubles()
    assert not troubles, "unexpected in the logs:\n" + "\n".join(troubles)


@pytest.fixture
def users() -> Sequence[User]:
    """Ordinary users; switching to them needs root."""
    if os.geteuid() != 0:
        pytest.skip("only root can switch to other users")
    return ordinary_users()


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    """Debian's, of the module's own: its tests may stop it, and start it again."""
    made = PostgresServer(debian_binaries())
    yield made
    made.close()


@pytest.fixture
def s3_server(monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The run's S3 server; its credentials are in the environment. Buckets: ``harness.buckets``."""
    from harness.buckets import CREDENTIALS, shared_server

    for name in [name for name in os.environ if name.startswith(("AWS_", "GRAVITON_S3_"))]:
        monkeypatch.delenv(name)
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    return shared_server()
