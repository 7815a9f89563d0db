"""Engines on a bucket, with names in a database of their own: packs remote, names local."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from graviton_server.maintenance.chores import Settings
from graviton_server.namespace.store import NamespaceStore
from graviton_server.targets.s3 import S3Settings, S3Target
from graviton_server.wiring import EngineOptions, TargetEngine, open_engine
from gravitonfs.core.format import VolumeFormat
from gravitonfs.ports.target import Target

STORE = bytes(range(16))
AT_ONCE = Settings(settled=0.0, idle=0.0, collect_rest=0.0, patience=0.0, bytes_per_second=0)


def open_on_bucket(
    home: Path,
    chosen: S3Settings,
    *,
    pack_size: int = 32 << 20,
    background: bool = False,
    wrap: Callable[[Target], Target] = lambda target: target,
) -> TargetEngine:
    """Made when it is not there."""
    names = home / "names.db"
    if not names.exists():
        home.mkdir(parents=True, exist_ok=True)
        NamespaceStore.create(names, VolumeFormat(), STORE)
    target = S3Target.make(chosen, STORE)
    options = EngineOptions(background=background, maintenance=AT_ONCE, pack_size=pack_size)
    return open_engine(NamespaceStore.open(names), wrap(target), home, options)
