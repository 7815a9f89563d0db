"""What can be asked of a store rather than of its files: sessions, snapshots, targets, tokens."""

from __future__ import annotations

from typing import Any

from graviton_server.control.answers import (
    BroughtBack,
    CheckedQuota,
    Differences,
    NewToken,
    QuotaInfo,
    Restored,
    SessionInfo,
    SnapshotInfo,
    TargetInfo,
    TokenInfo,
)
from graviton_server.control.request import Request

# --- sessions ---------------------------------------------------------------------------------


class ListSessions(Request[list[SessionInfo]], frozen=True, kw_only=True):
    """Of all volumes, in all processes."""


class EvictSession(Request[None], frozen=True, kw_only=True):
    number: int


# --- snapshots --------------------------------------------------------------------------------


class CreateSnapshot(Request[SnapshotInfo], frozen=True, kw_only=True):
    volume: str
    name: str


class ListSnapshots(Request[list[SnapshotInfo]], frozen=True, kw_only=True):
    volume: str


class DeleteSnapshot(Request[None], frozen=True, kw_only=True):
    volume: str
    name: str


class DiffSnapshots(Request[Differences], frozen=True, kw_only=True):
    """What differs from ``before``; ``after`` None: now. Lines of JSON come as data from the owner."""

    volume: str
    before: str
    after: str | None = None


class RestoreSnapshot(Request[Restored], frozen=True, kw_only=True):
    """Events say how many files there are. NotFound, Exists (without ``force``), Invalid."""

    volume: str
    name: str
    path: bytes
    target: bytes | None = None
    force: bool = False


# --- trash ------------------------------------------------------------------------------------


class ListTrash(Request[int], frozen=True, kw_only=True):
    """What was removed at or below a path. Lines of JSON come as data from the owner; how many."""

    volume: str
    path: bytes


class RestoreRemoved(Request[BroughtBack], frozen=True, kw_only=True):
    """``path``: where it was, or a place in ``.trash``; ``target`` None: there. NotFound, Exists, Invalid."""

    volume: str
    path: bytes
    target: bytes | None = None


# --- quotas -----------------------------------------------------------------------------------


class ListQuotas(Request[list[QuotaInfo]], frozen=True, kw_only=True):
    """By path."""

    volume: str


class GetQuota(Request[QuotaInfo], frozen=True, kw_only=True):
    """NotFound."""

    volume: str
    path: bytes


class SetQuota(Request[QuotaInfo], frozen=True, kw_only=True):
    """None: no limit. Answered when what is there is counted. NotFound, NotADirectory, Invalid."""

    volume: str
    path: bytes
    max_bytes: int | None = None
    max_inodes: int | None = None


class DeleteQuota(Request[None], frozen=True, kw_only=True):
    """NotFound."""

    volume: str
    path: bytes


class CheckQuotas(Request[list[CheckedQuota]], frozen=True, kw_only=True):
    """Count again, one or all."""

    volume: str
    path: bytes | None = None
    repair: bool = False


# --- targets ----------------------------------------------------------------------------------


class ListTargets(Request[list[TargetInfo]], frozen=True, kw_only=True):
    pass


class AddTarget(Request[TargetInfo], frozen=True, kw_only=True):
    """``location``: path; or bucket, region, endpoint and so on. Exists, Invalid."""

    name: str
    kind: str
    location: dict[str, Any]
    zone: str | None = None
    weight: float | None = None
    capacity: int | None = None
    copies: int | None = None
    zones: int | None = None


class ChangeTarget(Request[TargetInfo], frozen=True, kw_only=True):
    """``state``: active, draining or removed; ``renew``: its place is new and empty. NotFound, Busy,
    Invalid."""

    name: str
    state: str | None = None
    zone: str | None = None
    weight: float | None = None
    capacity: int | None = None
    copies: int | None = None
    zones: int | None = None
    renew: bool = False
    force: bool = False


# --- tokens -----------------------------------------------------------------------------------


class MakeToken(Request[NewToken], frozen=True, kw_only=True):
    """``volumes`` None: all; ``lasts``: seconds, None: until it is revoked."""

    name: str
    scopes: list[str]
    volumes: list[str] | None = None
    lasts: float | None = None


class ListTokens(Request[list[TokenInfo]], frozen=True, kw_only=True):
    pass


class RevokeToken(Request[TokenInfo], frozen=True, kw_only=True):
    """By id or name."""

    token: str
