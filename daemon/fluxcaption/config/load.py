"""Loads the configuration file: parses it, fills in secrets and paths, and validates it.

All problems are reported at once, each with its position in the file.
"""

import os
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from pydantic import ValidationError

from fluxcaption.config.messages import add_validation_problems, did_you_mean
from fluxcaption.config.secrets import SecretReader
from fluxcaption.config.yaml_source import YamlSource, parse_yaml, read_text
from fluxcaption.settings import JellyfinConfig, Settings

DEFAULT_PATH = Path("/etc/fluxcaption/config.yaml")
MAX_SOCKET_PATH_BYTES = 107
"""Length limit of the path of a Unix socket on Linux."""


def find_config(option: Path | None, environment: Mapping[str, str]) -> Path:
    """Return the file to read: the option, else $FLUXCAPTION_CONFIG, else the system's."""
    if option is not None:
        return option
    return Path(environment["FLUXCAPTION_CONFIG"]) if environment.get("FLUXCAPTION_CONFIG") else DEFAULT_PATH


def load_settings(path: Path, environment: Mapping[str, str] = os.environ) -> Settings:
    """Load a configuration file.

    Raises:
        ConfigError: The configuration is invalid; the error lists every problem.
    """
    source = YamlSource(str(path))
    secrets = SecretReader(source, path.parent, environment)
    values = parse_yaml(read_text(path), source, secrets.substitute_variables)
    if not isinstance(values, dict):
        if not source.problems:
            source.add_problem((), "is not a mapping: the file must begin with server: and languages:")
        raise source.error()
    secrets.fill_in(values)
    _make_paths_absolute(values, path.parent)
    if environment.get("FLUXCAPTION_LISTEN") and isinstance(values.setdefault("web", {}), dict):
        values["web"].setdefault("listen", environment["FLUXCAPTION_LISTEN"])
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        add_validation_problems(error, source, environment)
        raise source.error() from error
    _check_machine(settings, source)
    if source.problems:
        raise source.error()
    return settings


def _make_paths_absolute(values: dict[str, Any], folder: Path) -> None:
    """Resolve relative paths against the folder of the configuration file."""
    for section, key in _path_settings(values):
        if isinstance(section, dict) and isinstance(section.get(key), str) and section[key]:
            section[key] = str((folder / section[key]).absolute())


def _path_settings(values: dict[str, Any]) -> Iterator[tuple[Any, str]]:
    """Yield each section and key that may hold a path; the values are not validated yet."""
    yield values, "state"
    server = values.get("server")
    if isinstance(server, dict):
        yield server, "path"
        yield server, "ca_file"
        path_map = server.get("path_map")
        for mapping in path_map if isinstance(path_map, list) else ():
            yield mapping, "local"
    for name in ("asr", "translation"):
        section = values.get(name)
        backends = section.get("backends") if isinstance(section, dict) else None
        for backend in backends if isinstance(backends, list) else ():
            # A model without a slash is a name, not a directory.
            is_local = isinstance(backend, dict) and backend.get("type") == "local"
            if is_local and "/" in str(backend.get("model")):
                yield backend, "model"


def _check_machine(settings: Settings, source: YamlSource) -> None:
    """Check what depends on this machine: files, time zones and path lengths."""
    server = settings.server
    if isinstance(server, JellyfinConfig) and server.ca_file is not None:
        _check_ca_file(server.ca_file, source)
    _check_timezone(settings.schedule.timezone, source)
    if len(bytes(settings.control_socket)) > MAX_SOCKET_PATH_BYTES:
        source.add_problem(
            ("state",),
            "is too long for a socket: the path must have at most "
            f"{MAX_SOCKET_PATH_BYTES} bytes with /control.sock; choose a shorter one",
        )


def _check_ca_file(file: Path, source: YamlSource) -> None:
    try:
        ssl.create_default_context(cafile=file)
    except OSError as error:
        source.add_problem(
            ("server", "ca_file"),
            f"{file} cannot be used ({error.strerror}): name a file with certificates in PEM format",
        )


def _check_timezone(name: str, source: YamlSource) -> None:
    if name == "auto":
        return
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        source.add_problem(
            ("schedule", "timezone"),
            "is not a time zone: write one such as Europe/Berlin" + did_you_mean(name, available_timezones()),
        )
