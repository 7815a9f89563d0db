"""The configuration as it is in effect, without its secrets."""

from __future__ import annotations

from typing import Any

from graviton_server.config.jdbc import without_secrets
from graviton_server.config.load import Loaded
from graviton_server.config.sections import Declared, declared

HIDDEN = "***"


def settings(loaded: Loaded) -> list[tuple[str, Any, str]]:
    """(full key, value as it would be written, source) of every key."""
    found: list[tuple[str, Any, str]] = []
    _of(loaded, loaded.config, found)
    return found


def _of(loaded: Loaded, section: Any, found: list[tuple[str, Any, str]], above: str = "graviton") -> None:
    for key in declared(type(section), above):
        value = getattr(section, key.attribute)
        if key.section is not None:
            _of(loaded, value, found, key.path)
        else:
            found.append((key.path, _shown(key, value), loaded.where(key.path)))


def _shown(key: Declared, value: Any) -> Any:
    if value is None:
        return None
    if key.secret:
        return without_secrets(value) if key.attribute.endswith("jdbc_url") else HIDDEN
    assert key.kind is not None
    if key.kind.item is not None:
        return [
            {
                one.path.rpartition(".")[2]: _shown(one, getattr(item, one.attribute))
                for one in declared(key.kind.item)
                if getattr(item, one.attribute) is not None
            }
            for item in value
        ]
    return key.kind.show(value)
