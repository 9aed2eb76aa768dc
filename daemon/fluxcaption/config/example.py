"""Generates the JSON Schema and the commented example configuration from the settings models."""

import json
import textwrap
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from fluxcaption.settings import FolderConfig, JellyfinConfig, Section, Settings, format_duration

LINE_LENGTH = 110
GIB = 2**30
SCHEMA_LINE = "# yaml-language-server: $schema=./fluxcaption.schema.json\n"
HEAD = """\
# FluxCaption: every setting with its default. Only `server` and `languages.targets` are required; lines that
# begin with "#" can stay as they are. Paths are relative to this file. Durations: 90s 15m 2h 30d.
"""
FOLDER_EXAMPLE = f"""\
# Instead of a server, a folder with sidecar files:
# server:
#   type: folder
#   path: /media  # {FolderConfig.model_fields["path"].description}"""

Given = Mapping[str, Mapping[str, Any]]
"""Settings with a value, by section and key."""

EXAMPLE: Given = {
    "server": {"type": "jellyfin", "url": "http://jellyfin:8096", "api_key": "${JELLYFIN_API_KEY}"},
    "languages": {"targets": ("en",)},
}


def config_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the configuration file."""
    schema = Settings.model_json_schema(mode="validation")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "FluxCaption configuration",
    }


def schema_text() -> str:
    """Return the schema as it is shipped in `config/fluxcaption.schema.json`."""
    return json.dumps(config_schema(), indent=2, ensure_ascii=False) + "\n"


def example_config() -> str:
    """Return the commented example as it is shipped in `config/config.example.yaml`; it loads unchanged."""
    return SCHEMA_LINE + commented_config(EXAMPLE)


def commented_config(given: Given) -> str:
    """Return a configuration with the given settings, and every other one as a comment with its default."""
    blocks = [HEAD, "\n".join(["server:", *_setting_lines(JellyfinConfig, given["server"])]), FOLDER_EXAMPLE]
    for name, field in Settings.model_fields.items():
        if name != "server":
            blocks.append(_block(name, field, given))
    return "\n\n".join(block.rstrip("\n") for block in blocks) + "\n"


def _block(name: str, field: FieldInfo, given: Given) -> str:
    """Return a section with its heading and settings, or a setting outside of the sections."""
    model = field.annotation
    if not (isinstance(model, type) and issubclass(model, Section)):
        return "# " + _setting_line(name, _default(field), field.description)
    heading = textwrap.wrap(
        (model.__doc__ or "").splitlines()[0], LINE_LENGTH, initial_indent="# ", subsequent_indent="# "
    )
    key = f"{name}:" if name in given else f"# {name}:"
    return "\n".join([*heading, key, *_setting_lines(model, given.get(name, {}))])


def _setting_lines(model: type[BaseModel], given: Mapping[str, Any]) -> list[str]:
    return [
        "  " + _setting_line(name, given[name], field.description)
        if name in given
        else "#   " + _setting_line(name, _default(field), field.description)
        for name, field in model.model_fields.items()
    ]


def _setting_line(name: str, value: Any, description: str | None) -> str:
    return f"{name}: {_to_yaml(value)}" + (f"  # {description}" if description else "")


def _default(field: FieldInfo) -> Any:
    return field.get_default(call_default_factory=True)


def _to_yaml(value: Any) -> str:
    """Return a value as YAML in one line."""
    if isinstance(value, BaseModel):
        entries = {name: getattr(value, name) for name in type(value).model_fields}
        return "{" + ", ".join(f"{name}: {_to_yaml(entry)}" for name, entry in entries.items()) + "}"
    if isinstance(value, tuple):
        return "[" + ", ".join(_to_yaml(entry) for entry in value) + "]"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, int) and value >= GIB and value % GIB == 0:
        return f"{value // GIB}GiB"
    text = str(getattr(value, "value", value))
    return json.dumps(text, ensure_ascii=False) if any(character in text for character in ":*{}[]#") else text
