"""Turns validation errors of pydantic into sentences, with the nearest valid name for a misspelled one."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from fluxcaption.config.yaml_source import KeyPath, YamlSource
from fluxcaption.settings import (
    FolderConfig,
    JellyfinConfig,
    LocalSpeech,
    LocalTranslation,
    OllamaTranslation,
    Settings,
)

SENTENCES = {
    "string_type": "is not text: write one line of text",
    "tuple_type": "is not a list: write [one, another]",
    "too_short": "has too few entries: write at least {min_length}",
    "too_long": "has too many entries: write at most {max_length}",
    "model_type": "is a group of settings: write its keys below it",
    "model_attributes_type": "is a group of settings: write its keys below it",
    "union_tag_not_found": "has no type: add one",
    "int_type": "is not a whole number: write one",
    "int_parsing": "is not a whole number: write one",
    "int_from_float": "is not a whole number: write one",
    "float_type": "is not a number: write one",
    "float_parsing": "is not a number: write one",
    "bool_type": "is neither true nor false: write one of them",
    "bool_parsing": "is neither true nor false: write one of them",
    "path_type": "is not a path: write one",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
}
"""Message by pydantic's error type."""

PATTERN_SENTENCES = {
    "url": "is not an address: write one such as http://jellyfin:8096",
    "public_url": "is not an address: write one such as http://fluxcaption:8765",
    "listen": "is not an address with a port: write one such as 127.0.0.1:8765",
    "pause": "is not a range of hours: write one such as 18:00-23:30",
    "marker": "is not a valid marker: write 3 to 31 lower-case letters, digits and dashes",
}
"""Message for a text that does not match its pattern, by key."""

_TAGS = frozenset({"jellyfin", "folder", "local", "ollama"})
"""Values of `type` that pydantic puts into the location of an error, although no key has that name."""

_MODEL_OF_TAG: dict[str, type[BaseModel]] = {
    "jellyfin": JellyfinConfig,
    "folder": FolderConfig,
    "ollama": OllamaTranslation,
}


def add_validation_problems(
    error: ValidationError, source: YamlSource, environment: Mapping[str, str]
) -> None:
    """Record every validation error as a problem of the file; `environment` proposes the user's language."""
    details = error.errors(include_url=False, include_context=True)
    parents = {tuple(one["loc"][:depth]) for one in details for depth in range(len(one["loc"]))}
    for detail in details:
        location = tuple(detail["loc"])
        # A list with invalid entries is also reported as too short; the entries have their own messages.
        if not (detail["type"] == "too_short" and location in parents):
            path = _path_in_file(location, source)
            source.add_problem(*_message(detail, location, path, environment))


def did_you_mean(text: str, choices: Iterable[str]) -> str:
    """Return ` (did you mean …?)` for the choice that is most similar to a text; empty if none is similar."""
    matches = difflib.get_close_matches(text, list(choices), n=1)
    return f" (did you mean {matches[0]}?)" if matches else ""


def _message(
    detail: Any, location: KeyPath, path: KeyPath, environment: Mapping[str, str]
) -> tuple[KeyPath, str]:
    """Return the key and the sentence for one validation error."""
    kind = detail["type"]
    if kind == "extra_forbidden":
        return path, "is not a setting" + did_you_mean(str(location[-1]), _settings_at(location[:-1]))
    if kind == "missing":
        return _missing(path, environment)
    if kind == "literal_error":
        return path, _choice(detail["ctx"]["expected"], detail["input"])
    if kind == "union_tag_invalid":
        return (*path, "type"), _choice(detail["ctx"]["expected_tags"], detail["input"].get("type"))
    if kind == "string_pattern_mismatch":
        return path, _pattern(path, detail["ctx"]["pattern"])
    if kind in SENTENCES:
        return path, SENTENCES[kind].format(**detail.get("ctx", {}))
    return path, detail["msg"].removeprefix("Value error, ")


def _missing(path: KeyPath, environment: Mapping[str, str]) -> tuple[KeyPath, str]:
    if path[-1] not in {"languages", "targets"}:
        return path, "is missing: add it"
    language = environment.get("LANG", "").split("_")[0].split(".")[0].lower()
    proposal = language if len(language) == 2 else "en"
    targets = (*path, "targets") if path[-1] == "languages" else path
    return targets, f"is missing: name the languages of your subtitles, for example targets: [{proposal}]"


def _choice(expected: str, value: object) -> str:
    choices = re.findall(r"'([^']*)'", expected)
    return f"must be one of {', '.join(choices)}" + did_you_mean(str(value), choices)


def _pattern(path: KeyPath, pattern: str) -> str:
    key = path[-1] if isinstance(path[-1], str) else path[-2]
    return PATTERN_SENTENCES.get(str(key), f"does not match the pattern {pattern}")


def _path_in_file(location: KeyPath, source: YamlSource) -> KeyPath:
    """Return the key path as the file spells it, without the tags that pydantic inserts for a union."""
    path: KeyPath = ()
    for number, part in enumerate(location):
        is_last = number == len(location) - 1
        if (*path, part) in source.positions or (is_last and part not in _TAGS):
            path = (*path, part)
    return path


def _settings_at(location: KeyPath) -> Sequence[str]:
    """Return the names of the settings that are allowed at a location of the model."""
    model: type[BaseModel] = Settings
    for number, part in enumerate(location):
        if isinstance(part, int):
            continue
        if part == "local":
            model = LocalSpeech if "asr" in location[:number] else LocalTranslation
        elif part in _MODEL_OF_TAG:
            model = _MODEL_OF_TAG[part]
        elif part in model.model_fields:
            model = _model_in(model.model_fields[part].annotation) or model
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the first model inside an annotation such as `tuple[Model, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for part in get_args(annotation) if (model := _model_in(part)) is not None), None)
