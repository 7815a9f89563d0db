"""Opening the store that a server is to serve: with what budgets, where, and who else has it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from graviton_server.cli.memory import memory_budget
from graviton_server.cli.options import Choices
from graviton_server.cli.processors import processors
from graviton_server.control.client import NobodyThere, RemoteCaller
from gravitonfs.errors import Locked

if TYPE_CHECKING:
    from graviton_server.config.sections import Config
    from graviton_server.wiring import Engine, EngineOptions

SERVERS = ("up", "serve", "mount", "webdav")
"""Roles that keep a volume open until they are told to end."""
_COMMANDS_WAITED_FOR = 5.0
_AGAIN_AFTER = 0.05


def engine_options(choices: Choices) -> EngineOptions:
    from graviton_server.wiring import EngineOptions, UpkeepSettings

    upkeep = UpkeepSettings()
    if choices.collect_rest is not None:
        upkeep = upkeep._replace(collect_rest=choices.collect_rest)
    if choices.upkeep_rate is not None:
        upkeep = upkeep._replace(bytes_per_second=choices.upkeep_rate)
    upkeep = upkeep._replace(grace=choices.grace, keep=choices.keep or 0.0)
    if choices.snapshots is not None:
        upkeep = upkeep._replace(snapshots=choices.snapshots)
    if choices.history_interval is not None:
        upkeep = upkeep._replace(history_interval=choices.history_interval)
    days, age = choices.trash or (EngineOptions.trash_days, EngineOptions.trash_min_age)
    if choices.backup is not None:
        upkeep = upkeep._replace(backup=choices.backup)
    return EngineOptions(
        maintenance=upkeep,
        memory=choices.memory or memory_budget(EngineOptions.memory),
        processors=processors(),
        trash_days=days,
        trash_min_age=age,
        disk_cache=choices.disk_cache,
        upload_limit=choices.upload_limit,
        download_limit=choices.download_limit,
        max_file_size=choices.max_file_size,
    )


def open_store(data: Path, options: EngineOptions, *, create: bool, config: Config | None) -> Engine:
    """Waits a moment for a command that has the volume open; for another server it would be in vain."""
    from graviton_server.wiring import open_embedded

    give_up = time.monotonic() + _COMMANDS_WAITED_FOR
    while True:
        try:
            if config is not None:
                from graviton_server.wiring.configured import open_configured

                return open_configured(config, options)
            return open_embedded(data, create=create, options=options)
        except Locked as locked:
            role, sentence = _who_has(data, locked)
            if role in SERVERS or time.monotonic() > give_up:
                raise Locked(sentence) from None
        time.sleep(_AGAIN_AFTER)


def _who_has(data: Path, locked: Locked) -> tuple[str, str]:
    """What the process that has the volume was started as, and the sentence that names it."""
    try:
        caller = RemoteCaller(data)
    except NobodyThere:
        return "", f"{locked}: wait until it has ended, or stop it"
    role, pid = caller.owner.role, caller.owner.pid
    caller.close()
    advice = "stop that one first, or use what it serves" if role in SERVERS else "wait until it has ended"
    who = f"process {pid} ('graviton {role}')"
    return role, f"{data} is open in {who}, and one process at a time can serve it: {advice}"
