"""Parses the configuration file and keeps the position of every key; the only module that imports PyYAML.

Scalars follow YAML 1.2: `no`, `on` and `22:30` are strings, which matters for language codes and hours.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from fluxcaption.domain.errors import ConfigError, Problem

MAX_FILE_BYTES = 2**20
MAX_DEPTH = 20
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)\.[0-9]+")

Position = tuple[int, int]
"""Line and column, both from 1."""

KeyPath = tuple[str | int, ...]


@dataclass(slots=True)
class YamlSource:
    """A configuration file: its name, the position of each key, and the problems found so far."""

    name: str
    positions: dict[KeyPath, Position] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def add_problem(self, path: KeyPath, text: str) -> None:
        """Record a problem at a key; a missing key has the position of its nearest parent."""
        existing = path
        while existing and existing not in self.positions:
            existing = existing[:-1]
        line, column = self.positions.get(existing, (1, 1))
        key = ".".join(str(part) for part in path)
        self.problems.append(Problem(f"{self.name}:{line}:{column}", key, text))

    def error(self) -> ConfigError:
        """Return the recorded problems as an error, in the order of the file."""
        return ConfigError(sorted(self.problems, key=_position_in_file))


def _position_in_file(problem: Problem) -> tuple[int, ...]:
    return tuple(int(part) for part in problem.place.rsplit(":", 2)[1:])


Substitute = Callable[[KeyPath, str], str]
"""Replaces the environment variables in a string value."""


def read_text(path: Path) -> str:
    """Return the content of the configuration file.

    Raises:
        ConfigError: The file cannot be read, is too large, or is not UTF-8.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        text = f"cannot be read ({error.strerror}): give --config FILE or set FLUXCAPTION_CONFIG"
        raise _file_error(path, text) from error
    if len(content) > MAX_FILE_BYTES:
        raise _file_error(path, "is larger than 1 MiB: this is not a configuration")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _file_error(path, "is not UTF-8 text: save it as UTF-8") from error


def _file_error(path: Path | str, text: str) -> ConfigError:
    return ConfigError([Problem(str(path), "", text)])


def parse_yaml(text: str, source: YamlSource, substitute: Substitute) -> Any:
    """Return the values of a YAML text; keys without a value are left out.

    Positions and problems of single keys are recorded in `source`.

    Raises:
        ConfigError: The text is not YAML, or it has aliases.
    """
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.CSafeLoader)):
            raise _file_error(source.name, "has a YAML alias, which is not allowed: write the value out")
        node = yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{source.name}:{mark.line + 1}:{mark.column + 1}" if mark else source.name
        raise _file_error(place, f"is not YAML: {error.problem or error}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise _file_error(source.name, "is not YAML") from error
    return None if node is None else _Reader(source, substitute).value(node, ())


def _position(node: yaml.Node) -> Position:
    return node.start_mark.line + 1, node.start_mark.column + 1


@dataclass(frozen=True, slots=True)
class _Reader:
    """Converter of YAML nodes to values."""

    source: YamlSource
    substitute: Substitute

    def value(self, node: yaml.Node, path: KeyPath) -> Any:
        self.source.positions.setdefault(path, _position(node))
        if len(path) > MAX_DEPTH:
            self.source.add_problem(path, f"is nested more than {MAX_DEPTH} levels deep: no setting is")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(entry, (*path, number)) for number, entry in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self.source.add_problem(path, "has a list or a mapping as a key: write a name")
                continue
            key = str(key_node.value)
            key_path = (*path, key)
            self.source.positions[key_path] = _position(key_node)
            if key in values:
                self.source.add_problem(key_path, "is given twice: remove one")
            if (value := self.value(value_node, key_path)) is not None:
                values[key] = value
        return values

    def _scalar(self, node: Any, path: KeyPath) -> Any:
        text = str(node.value)
        # The style of a plain scalar is '' with the C loader and None with the Python loader.
        if not node.style:
            if text in {"true", "false"}:
                return text == "true"
            if text in {"", "~", "null"}:
                return None
            if _INT.fullmatch(text):
                return int(text)
            if _FLOAT.fullmatch(text):
                return float(text)
        return self.substitute(path, text)
