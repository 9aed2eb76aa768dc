"""The JSON Schema and the commented example, both made from the settings, so that neither can drift from the loader."""

import json
import textwrap
from datetime import timedelta
from typing import Any

from pydantic import BaseModel

from fluxcaption.settings import FolderServer, JellyfinServer, Section, Settings

HEAD = """\
# yaml-language-server: $schema=./fluxcaption.schema.json
# FluxCaption: every setting with its default. Only `server` and `languages.targets` must be given;
# everything that begins with "#" may stay as it is. Paths are relative to this file. Durations: 90s 15m 2h 30d.

server:
  type: jellyfin
  url: http://jellyfin:8096
  api_key: ${JELLYFIN_API_KEY}
"""


def config_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the configuration file."""
    schema = Settings.model_json_schema(mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "FluxCaption configuration"}


def schema_text() -> str:
    """The schema as it is shipped."""
    return json.dumps(config_schema(), indent=2, ensure_ascii=False) + "\n"


def example_config() -> str:
    """A commented configuration that loads as it is."""
    parts = [HEAD, *_lines(JellyfinServer, "  ", skip={"type", "url", "api_key"}, commented=True)]
    parts += ["", "# A folder tree with sidecar files instead of a server:", "# server:", "#   type: folder"]
    parts += [f"#   path: /media  # {FolderServer.model_fields['path'].description}"]
    for name, field in Settings.model_fields.items():
        model = field.annotation
        if name == "server":
            continue
        parts.append("")
        if isinstance(model, type) and issubclass(model, Section):
            parts += textwrap.wrap((model.__doc__ or "").splitlines()[0], 110, initial_indent="# ", subsequent_indent="# ")
            if name == "languages":
                parts += ["languages:", "  targets: [en]  # " + (model.model_fields["targets"].description or "")]
                parts += _lines(model, "  ", skip={"targets"}, commented=True)
            else:
                parts += [f"# {name}:", *_lines(model, "  ", skip=set(), commented=True)]
        else:
            parts.append(f"# {name}: {_spelt(field.get_default(call_default_factory=True))}  # {field.description or ''}".rstrip(" #"))
    return "\n".join(part.rstrip("\n") for part in parts) + "\n"


def _lines(model: type[BaseModel], indent: str, *, skip: set[str], commented: bool) -> list[str]:
    lead = "# " if commented else ""
    lines = []
    for name, field in model.model_fields.items():
        if name in skip:
            continue
        default = field.get_default(call_default_factory=True)
        comment = f"  # {field.description}" if field.description else ""
        lines.append(f"{lead}{indent}{name}: {_spelt(default)}{comment}")
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
    return f'"{text}"' if any(sign in text for sign in ":*{}[]#") else text


def _duration(value: timedelta) -> str:
    seconds = int(value.total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds and seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"
