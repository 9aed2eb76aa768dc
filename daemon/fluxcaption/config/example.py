"""The JSON Schema and the commented example, both made from the settings, so that neither can drift from the loader."""

import json
import textwrap
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from pydantic import BaseModel

from fluxcaption.settings import FolderConfig, JellyfinConfig, Section, Settings

SCHEMA_LINE = "# yaml-language-server: $schema=./fluxcaption.schema.json\n"
HEAD = """\
# FluxCaption: every setting with its default. Only `server` and `languages.targets` must be given;
# everything that begins with "#" may stay as it is. Paths are relative to this file. Durations: 90s 15m 2h 30d.
"""
Given = Mapping[str, Mapping[str, Any]]
"""Settings with a value of their own, by section and key."""

EXAMPLE: Given = {
    "server": {"type": "jellyfin", "url": "http://jellyfin:8096", "api_key": "${JELLYFIN_API_KEY}"},
    "languages": {"targets": ("en",)},
}


def config_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the configuration file."""
    schema = Settings.model_json_schema(mode="validation")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "FluxCaption configuration",
    }


def schema_text() -> str:
    """The schema as it is shipped."""
    return json.dumps(config_schema(), indent=2, ensure_ascii=False) + "\n"


def example_config() -> str:
    """A commented configuration that loads as it is."""
    return SCHEMA_LINE + commented_config(EXAMPLE)


def commented_config(given: Given) -> str:
    """A configuration with what is given, and every other setting as a comment with its default."""
    parts = [HEAD, "", "server:", *_lines(JellyfinConfig, given["server"])]
    parts += ["", "# A folder tree with sidecar files instead of a server:", "# server:", "#   type: folder"]
    parts += [f"#   path: /media  # {FolderConfig.model_fields['path'].description}"]
    for name, field in Settings.model_fields.items():
        model = field.annotation
        if name == "server":
            continue
        parts.append("")
        if isinstance(model, type) and issubclass(model, Section):
            parts += textwrap.wrap(
                (model.__doc__ or "").splitlines()[0], 110, initial_indent="# ", subsequent_indent="# "
            )
            parts += [f"{name}:" if name in given else f"# {name}:", *_lines(model, given.get(name, {}))]
        else:
            parts.append(
                f"# {name}: {_spelt(field.get_default(call_default_factory=True))}  # {field.description or ''}".rstrip(
                    " #"
                )
            )
    return "\n".join(part.rstrip("\n") for part in parts) + "\n"


def _lines(model: type[BaseModel], given: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, field in model.model_fields.items():
        lead, value = (
            ("", given[name]) if name in given else ("# ", field.get_default(call_default_factory=True))
        )
        comment = f"  # {field.description}" if field.description else ""
        lines.append(f"{lead}  {name}: {_spelt(value)}{comment}")
    return lines


def _spelt(value: Any) -> str:
    """A default as YAML in one line."""
    if isinstance(value, BaseModel):
        inner = {name: getattr(value, name) for name in type(value).model_fields}
        return "{" + ", ".join(f"{name}: {_spelt(part)}" for name, part in inner.items()) + "}"
    if isinstance(value, tuple):
        return "[" + ", ".join(_spelt(part) for part in value) + "]"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, timedelta):
        return _duration(value)
    if isinstance(value, int) and value >= 2**30 and value % 2**30 == 0:
        return f"{value // 2**30}GiB"
    text = str(getattr(value, "value", value))
    return json.dumps(text, ensure_ascii=False) if any(sign in text for sign in ":*{}[]#") else text


def _duration(value: timedelta) -> str:
    seconds = int(value.total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds and seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"
