"""Reading it all: flag before environment before file before default, and every problem at once."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from graviton_server.config.contradictions import contradictions, effective
from graviton_server.config.document import ConfigProblems, Document
from graviton_server.config.environment import Surroundings, file_to_read, surroundings
from graviton_server.config.sections import ROOT, Config, declared, required
from gravitonfs.errors import GravitonError, Invalid


@dataclass(frozen=True)
class Loaded:
    config: Config
    """As it is in effect: parts are at least 5 MiB, the backend is chosen."""
    surroundings: Surroundings
    document: Document | None
    sources: dict[str, str]
    """By full key, where its value comes from; keys that have their default are not in it."""
    warnings: tuple[str, ...] = ()

    def where(self, key: str) -> str:
        return self.sources.get(key, "default")


def load(
    file: str | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Loaded:
    """``flags``: by full key. Raises ConfigProblems, NotFound for a file that is named and not there."""
    environment = dict(os.environ if environment is None else environment)
    path = file_to_read(file, environment)
    document = Document(path, environment) if path is not None else None
    reading = _Reading(document, environment, flags or {})
    config = reading.root()
    around = Surroundings()
    try:
        around = surroundings(environment)
    except GravitonError as error:
        reading.problems.append(str(error))
    if not reading.problems:
        problems, warnings = contradictions(config, reading.sources)
        reading.problems += problems
        reading.warnings += warnings
    if reading.problems:
        raise ConfigProblems(reading.problems)
    return Loaded(effective(config), around, document, reading.sources, (*around.warnings, *reading.warnings))


@dataclass
class _Reading:
    document: Document | None
    environment: Mapping[str, str]
    flags: Mapping[str, Any]
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)

    def root(self) -> Config:
        values = self.document.values if self.document is not None else {}
        self._unknown(values, {ROOT}, ())
        config = self._section(Config, values.get(ROOT), (ROOT,))
        assert isinstance(config, Config)
        return config

    def _section(self, cls: type, values: Any, keys: tuple[str, ...], *, top: bool = True) -> Any:
        """``top``: not inside of a list, so the environment and flags may set its keys."""
        if values is None:
            values = {}
        if not isinstance(values, dict):
            self._problem(keys, f"{values!r} stands where a section belongs; expected {keys[-1]} {{ … }}")
            values = {}
        known = declared(cls, ".".join(keys))
        self._unknown(values, {key.path.rpartition(".")[2] for key in known}, keys)
        found: dict[str, Any] = {}
        for key in known:
            name = key.path.rpartition(".")[2]
            below = (*keys, name)
            if key.section is not None:
                found[key.attribute] = self._section(key.section, values.get(name), below, top=top)
                continue
            assert key.kind is not None
            raw, source = self._raw(key.path, key.env, values.get(name), below, top=top)
            if raw is None:
                if not top and required(cls, key.attribute):
                    self._problem(keys, f"{name} is missing; expected {key.kind.expected}")
                continue
            try:
                value = key.kind.read(raw)
            except Invalid as error:
                shown = f"expected {key.kind.expected}" if key.secret else str(error)
                self.problems.append(f"{key.path} ({source}): {shown}")
                continue
            if key.kind.item is not None:
                item = key.kind.item
                value = tuple(
                    self._section(item, one, (*keys, f"{name}[{n}]"), top=False)
                    for n, one in enumerate(value)
                )
            found[key.attribute] = value
            self.sources[key.path] = source
        return cls(**found)

    def _raw(
        self, path: str, variable: str | None, written: Any, keys: tuple[str, ...], *, top: bool
    ) -> tuple[Any, str]:
        if top and self.flags.get(path) is not None:
            return self.flags[path], "command line"
        if top and variable is not None and self.environment.get(variable):
            return self.environment[variable], f"environment variable {variable}"
        return written, self._where(keys) if written is not None else "default"

    def _unknown(self, values: dict[str, Any], known: set[str], keys: tuple[str, ...]) -> None:
        for name in values:
            if name not in known:
                close = difflib.get_close_matches(name, sorted(known), 1)
                hint = f"did you mean {close[0]}?" if close else f"expected one of {', '.join(sorted(known))}"
                self._problem((*keys, name), f"this key is unknown; {hint}")

    def _problem(self, keys: tuple[str, ...], what: str) -> None:
        self.problems.append(f"{'.'.join(keys)} ({self._where(keys)}): {what}")

    def _where(self, keys: tuple[str, ...]) -> str:
        if self.document is None:
            return "environment"
        outside = []  # what lies in a list has the list's position
        for key in keys:
            name, bracket, _ = key.partition("[")
            outside.append(name)
            if bracket:
                break
        return self.document.where(tuple(outside))
