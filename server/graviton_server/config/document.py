"""The file: HOCON, with the position of every value. The only module that knows the parser."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zig_hocon import ConfigException, ConfigFactory, ConfigSubstitutionException, ConfigTree

from gravitonfs.errors import Invalid, NotFound


class ConfigProblems(Invalid):
    """Everything that is wrong, a sentence each."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class Document:
    """A parsed file; ``values`` is everything in it as dicts, lists and scalars."""

    def __init__(self, path: Path, environment: Mapping[str, str]) -> None:
        """Raises NotFound, and ConfigProblems with file and line for what is no HOCON or has no value."""
        self.path = path
        if not path.is_file():
            raise NotFound(f"there is no configuration file {path}")
        self._tree = _parsed(path, dict(environment))
        self.values: dict[str, Any] = self._tree.as_dict()

    def where(self, keys: tuple[str, ...]) -> str:
        """File and line of a value, as far as they are known."""
        path = ".".join(json.dumps(key) for key in keys)
        # The parser tells a position only with an error: ask for what the value is not.
        for getter in (self._tree.get_config, self._tree.get_int):
            try:
                getter(path)
            except ConfigException as error:
                if error.line:
                    return _place(self.path, error)
        return str(self.path)


def _parsed(path: Path, environment: dict[str, str]) -> ConfigTree:
    problems: list[str] = []
    while True:
        try:
            tree = ConfigFactory.parse_file(path, env=environment)
        except ConfigSubstitutionException as error:
            name = _substituted(error)
            problems.append(f"{_place(path, error)}: {_why(name, error)}")
            if error.name != "Unresolved" or not name or name in environment:
                raise ConfigProblems(problems) from None
            environment[name] = "0"  # stands in, so that the next one without a value is found too
        except ConfigException as error:
            raise ConfigProblems(
                [*problems, f"{_place(path, error)}: this is no HOCON ({error.name}){_shown(error)}"]
            ) from None
        else:
            if problems:
                raise ConfigProblems(problems)
            return tree


def _place(path: Path, error: ConfigException) -> str:
    return f"{error.file or path}, line {error.line}" if error.line else str(path)


def _substituted(error: ConfigException) -> str:
    """The name in ``${NAME}`` that the error is about."""
    line = (error.source_line or "")[max(0, (error.column or 1) - 1) :]
    return line.removeprefix("${").partition("}")[0].strip() if line.startswith("${") else ""


def _why(name: str, error: ConfigException) -> str:
    shown = f"${{{name or '…'}}}"
    if error.name == "Unresolved":
        return (
            f"{shown} has no value: set the environment variable,"
            f" or write ${{?{name or '…'}}} for one that may be missing"
        )
    return f"{shown} cannot be resolved ({error.name})"


def _shown(error: ConfigException) -> str:
    line = (error.source_line or "").strip()
    return f": {line[:80]!r}, column {error.column}" if line else ""
