"""The configuration file to settings, all problems at once with their places; the door of PyYAML.

YAML is read by the 1.2 rules: `no`, `on` and `22:30` are strings, which matters in a program about language codes.
"""

import difflib
import os
import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args
from zoneinfo import ZoneInfo, available_timezones

import yaml
from pydantic import BaseModel, SecretStr, ValidationError

from fluxcaption.domain.errors import ConfigError, Problem
from fluxcaption.settings import (
    FolderConfig,
    JellyfinConfig,
    LocalSpeech,
    LocalTranslation,
    OllamaTranslation,
    Settings,
)

DEFAULT_PATH = Path("/etc/fluxcaption/config.yaml")
MAX_BYTES = 2**20
MAX_DEPTH = 20
MAX_SOCKET_PATH = 107
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)\.[0-9]+")

Place = tuple[int, int]
KeyPath = tuple[str | int, ...]


@dataclass(slots=True)
class _Tree:
    """A file's values with the place of each key."""

    name: str
    places: dict[KeyPath, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def complain(self, path: KeyPath, text: str) -> None:
        at = path
        while at and at not in self.places:
            at = at[:-1]
        line, column = self.places.get(at, (1, 1))
        self.problems.append(
            Problem(f"{self.name}:{line}:{column}", ".".join(str(part) for part in path), text)
        )


def find_config(option: Path | None, environment: Mapping[str, str]) -> Path:
    """Which file to read: the option, else $FLUXCAPTION_CONFIG, else the system's."""
    if option is not None:
        return option
    return Path(environment["FLUXCAPTION_CONFIG"]) if environment.get("FLUXCAPTION_CONFIG") else DEFAULT_PATH


def load_settings(path: Path, environment: Mapping[str, str] = os.environ) -> Settings:
    """Read, complete and validate a configuration file.

    Raises:
        ConfigError: With every problem found.
    """
    tree = _Tree(str(path))
    values = _composed(_text(path), tree, environment)
    if not isinstance(values, dict):
        if not tree.problems:
            tree.complain((), "the file must be a mapping that begins with server: and languages:")
        raise ConfigError(tree.problems)
    _fill_in_secrets(values, tree, path.parent, environment)
    _make_absolute(values, path.parent)
    if environment.get("FLUXCAPTION_LISTEN") and isinstance(values.setdefault("web", {}), dict):
        values["web"].setdefault("listen", environment["FLUXCAPTION_LISTEN"])
    settings: Settings | None = None
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=True)
        deeper = {tuple(one["loc"][:depth]) for one in found for depth in range(len(one["loc"]))}
        for one in found:
            # A list is only too short because its entries were refused, each with its own problem.
            if not (one["type"] == "too_short" and tuple(one["loc"]) in deeper):
                _explain(one, tree, environment)
    if settings is not None:
        _check_the_machine(settings, tree)
    if settings is not None and len(str(settings.state / "control.sock").encode()) > MAX_SOCKET_PATH:
        tree.complain(
            ("state",),
            f"the path is too long for a socket below it ({MAX_SOCKET_PATH} bytes with /control.sock): choose a shorter one",
        )
    if (
        settings is not None
        and isinstance(settings.server, JellyfinConfig)
        and settings.server.ca_file is not None
    ):
        try:
            ssl.create_default_context(cafile=settings.server.ca_file)
        except OSError as error:
            tree.complain(
                ("server", "ca_file"),
                f"{settings.server.ca_file} cannot be used ({error.strerror}): it must hold certificates in PEM",
            )
    if tree.problems or settings is None:
        raise ConfigError(
            sorted(
                tree.problems, key=lambda problem: [int(part) for part in problem.place.rsplit(":", 2)[1:]]
            )
        )
    return settings


def secrets_of(settings: Settings) -> Sequence[str]:
    """Every secret value, for the log's redaction."""
    secrets = [settings.web.webhook_secret]
    if isinstance(settings.server, JellyfinConfig):
        secrets.append(settings.server.api_key)
    return [secret.get_secret_value() for secret in secrets if secret is not None]


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            [
                Problem(
                    str(path),
                    "",
                    f"cannot be read ({error.strerror}): give --config FILE or set FLUXCAPTION_CONFIG",
                )
            ]
        ) from error
    if len(content) > MAX_BYTES:
        raise ConfigError([Problem(str(path), "", "is larger than 1 MiB: this is no configuration")])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError([Problem(str(path), "", "is not UTF-8 text")]) from error


def _composed(text: str, tree: _Tree, environment: Mapping[str, str]) -> Any:
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.CSafeLoader)):
            raise ConfigError([Problem(tree.name, "", "YAML aliases are not allowed: write the value out")])
        node = yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{tree.name}:{mark.line + 1}:{mark.column + 1}" if mark else tree.name
        raise ConfigError([Problem(place, "", f"is not YAML: {error.problem or error}")]) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError([Problem(tree.name, "", "is not YAML")]) from error
    return None if node is None else _value(node, (), tree, environment)


def _value(node: yaml.Node, path: KeyPath, tree: _Tree, environment: Mapping[str, str]) -> Any:
    tree.places.setdefault(path, (node.start_mark.line + 1, node.start_mark.column + 1))
    if len(path) > MAX_DEPTH:
        tree.complain(path, "is nested too deeply")
        return None
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                tree.complain(path, "has a list or a mapping where a key should be")
                continue
            key = str(key_node.value)
            here = (*path, key)
            if key in found:
                tree.places[here] = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
                tree.complain(here, "is given twice: remove one")
            tree.places[here] = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            # A key without a value is as good as not written.
            if (value := _value(value_node, here, tree, environment)) is not None:
                found[key] = value
        return found
    if isinstance(node, yaml.SequenceNode):
        return [_value(part, (*path, number), tree, environment) for number, part in enumerate(node.value)]
    return _scalar(node, path, tree, environment)


def _scalar(node: Any, path: KeyPath, tree: _Tree, environment: Mapping[str, str]) -> Any:
    text = str(node.value)
    # The C loader says '' of a plain scalar, the other one None.
    if not node.style:
        if text in {"true", "false"}:
            return text == "true"
        if text in {"", "~", "null"}:
            return None
        if _INT.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            return float(text)

    def variable(match: re.Match[str]) -> str:
        value = environment.get(match[1])
        if value is None:
            tree.complain(path, f"the environment variable {match[1]} is not set")
            return ""
        return value

    return _VARIABLE.sub(variable, text)


def _fill_in_secrets(
    values: dict[str, Any], tree: _Tree, folder: Path, environment: Mapping[str, str]
) -> None:
    server = values.get("server")
    if isinstance(server, dict) and server.get("type", "jellyfin") == "jellyfin":
        server.setdefault("type", "jellyfin")
        if not _secret(server, "api_key", "jellyfin_api_key", ("server",), tree, folder, environment):
            tree.complain(
                ("server",),
                "needs api_key, api_key_file or a systemd credential named jellyfin_api_key: make a key in Jellyfin's dashboard under API Keys",
            )
    web = values.setdefault("web", {})
    if isinstance(web, dict):
        _secret(web, "webhook_secret", "webhook_secret", ("web",), tree, folder, environment)


def _secret(
    section: dict[str, Any],
    key: str,
    credential: str,
    path: KeyPath,
    tree: _Tree,
    folder: Path,
    environment: Mapping[str, str],
) -> bool:
    """Put the secret into `section[key]` from its one source; false where there is none."""
    file, folder_of_credentials = section.get(f"{key}_file"), environment.get("CREDENTIALS_DIRECTORY")
    given = Path(folder_of_credentials, credential) if folder_of_credentials else None
    sources = [name for name in (key, f"{key}_file") if name in section]
    if given is not None and given.is_file():
        sources.append(f"systemd credential {credential}")
    if len(sources) > 1:
        tree.complain((*path, key), f"is given as {' and as '.join(sources)}: remove one")
    if key in section:
        section[key] = str(section[key])
        if not section[key].strip():
            tree.complain((*path, key), "is empty: write the secret, or remove the line")
        return True
    if not sources:
        return False
    source = folder / str(file) if file is not None else given
    assert source is not None
    try:
        secret = source.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        tree.complain(
            (*path, f"{key}_file"),
            f"{source} cannot be read ({getattr(error, 'strerror', None) or 'not text'})",
        )
        return True
    if not secret:
        tree.complain((*path, f"{key}_file"), f"{source} is empty: write the secret into it")
    section[key] = SecretStr(secret)
    return True


def _make_absolute(values: dict[str, Any], folder: Path) -> None:
    """Paths in the file are relative to it."""

    def fix(section: Any, key: str) -> None:
        if isinstance(section, dict) and isinstance(section.get(key), str) and section[key]:
            section[key] = str((folder / section[key]).absolute())

    fix(values, "state")
    server = values.get("server")
    if isinstance(server, dict):
        fix(server, "path")
        fix(server, "ca_file")
        for pair in server.get("path_map") or () if isinstance(server.get("path_map"), list) else ():
            fix(pair, "local")
    for section in ("asr", "translation"):
        backends = (
            (values.get(section) or {}).get("backends") if isinstance(values.get(section), dict) else None
        )
        for backend in backends if isinstance(backends, list) else ():
            if (
                isinstance(backend, dict)
                and backend.get("type") == "local"
                and "/" in str(backend.get("model"))
            ):
                fix(backend, "model")


def _explain(found: Any, tree: _Tree, environment: Mapping[str, str]) -> None:
    location = tuple(found["loc"])
    path = _in_file(location, tree)
    kind = found["type"]
    if kind == "extra_forbidden":
        text = "is not a setting"
        if close := difflib.get_close_matches(str(location[-1]), _fields_at(location[:-1]), n=1):
            text += f" (did you mean {close[0]}?)"
        tree.complain(path, text)
    elif kind == "missing" and location[-1:] in {("languages",), ("targets",)}:
        own = environment.get("LANG", "").split("_")[0].split(".")[0].lower()
        proposal = own if len(own) == 2 else "en"
        tree.complain(
            (*path, "targets") if location[-1] == "languages" else path,
            f"is needed: name the languages your household reads, for example targets: [{proposal}]",
        )
    elif kind == "missing":
        tree.complain(path, "is needed")
    elif kind in {"literal_error", "union_tag_invalid"}:
        words = re.findall(r"'([^']*)'", found["ctx"].get("expected") or found["ctx"]["expected_tags"])
        given = found["input"].get("type") if isinstance(found["input"], dict) else found["input"]
        close = difflib.get_close_matches(str(given), words, n=1)
        where = (*path, "type") if kind == "union_tag_invalid" else path
        tree.complain(
            where, f"is one of {', '.join(words)}" + (f" (did you mean {close[0]}?)" if close else "")
        )
    elif kind == "string_pattern_mismatch":
        tree.complain(
            path,
            _PATTERNS.get(
                str(path[-1] if isinstance(path[-1], str) else path[-2]),
                f"must look like {found['ctx']['pattern']}",
            ),
        )
    elif kind in _SENTENCES:
        tree.complain(path, _SENTENCES[kind].format(**found.get("ctx", {})))
    else:
        tree.complain(path, found["msg"].removeprefix("Value error, "))


_SENTENCES = {
    "string_type": "write one line of text",
    "tuple_type": "write a list: [one, another]",
    "too_short": "needs at least {min_length} entry",
    "too_long": "has too many entries: {max_length} at most",
    "model_type": "is a group of settings: write its keys below it",
    "model_attributes_type": "is a group of settings: write its keys below it",
    "union_tag_not_found": "needs a type",
    "int_type": "write a whole number",
    "int_parsing": "write a whole number",
    "int_from_float": "write a whole number",
    "float_type": "write a number",
    "float_parsing": "write a number",
    "bool_type": "write true or false",
    "bool_parsing": "write true or false",
    "path_type": "write a path",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
}
_PATTERNS = {
    "url": "write an address such as http://jellyfin:8096",
    "public_url": "write an address such as http://fluxcaption:8765",
    "listen": "write an address and a port, such as 127.0.0.1:8765",
    "pause": "write hours such as 18:00-23:30",
    "marker": "write a word of 3 to 31 small letters, digits and dashes",
}


def _check_the_machine(settings: Settings, tree: _Tree) -> None:
    """What only this machine can tell: whether files that must be there are, and which time zones it knows."""
    server = settings.server
    if isinstance(server, JellyfinConfig) and server.ca_file is not None and not server.ca_file.is_file():
        tree.complain(("server", "ca_file"), f"{server.ca_file} is not there")
    if settings.schedule.timezone != "auto":
        try:
            ZoneInfo(settings.schedule.timezone)
        except (ValueError, OSError, KeyError):
            close = difflib.get_close_matches(settings.schedule.timezone, available_timezones(), n=1)
            tree.complain(
                ("schedule", "timezone"),
                "is no time zone: write one such as Europe/Berlin"
                + (f" (did you mean {close[0]}?)" if close else ""),
            )


def _in_file(location: tuple[str | int, ...], tree: _Tree) -> KeyPath:
    """The key path as the file spells it: without the tag names a union puts between."""
    path: KeyPath = ()
    for number, part in enumerate(location):
        is_last = number == len(location) - 1
        if (*path, part) in tree.places or (is_last and part not in _TAGS):
            path = (*path, part)
    return path


_TAGS = frozenset({"jellyfin", "folder", "local", "ollama"})
_UNIONS: dict[str, type[BaseModel]] = {
    "jellyfin": JellyfinConfig,
    "folder": FolderConfig,
    "ollama": OllamaTranslation,
}


def _fields_at(location: tuple[str | int, ...]) -> list[str]:
    """Names of the settings that are allowed at a place of the model."""
    model: type[BaseModel] = Settings
    for number, part in enumerate(location):
        if isinstance(part, int):
            continue
        if part == "local":
            model = LocalSpeech if "asr" in location[:number] else LocalTranslation
        elif part in _UNIONS:
            model = _UNIONS[part]
        elif (
            part in model.model_fields
            and (inner := _model_in(model.model_fields[part].annotation)) is not None
        ):
            model = inner
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((inner for part in get_args(annotation) if (inner := _model_in(part)) is not None), None)
