"""Types of single settings, with their notation in the file and in the JSON Schema."""

import re
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer
from pydantic.json_schema import WithJsonSchema

from fluxcaption.domain.language import LanguageTag

MAX_THREADS = 256
HTTP_URL_PATTERN = r"^https?://[^/\s]+"

_DURATION = re.compile(r"(\d+)\s*(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZE = re.compile(r"(\d+)\s*(B|KiB|MiB|GiB|TiB)")
_BYTES = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_CRON_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_CRON_PART = re.compile(r"(?:\*|(\d+|[a-z]{3})(?:-(\d+|[a-z]{3}))?)(?:/([1-9]\d*))?")


class Section(BaseModel):
    """Base of all sections: unknown keys are errors, and nothing changes after loading."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        arbitrary_types_allowed=True,
        hide_input_in_errors=True,
        coerce_numbers_to_str=True,
    )


def _parse_duration(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        return timedelta(seconds=int(match[1]) * _SECONDS[match[2]])
    raise ValueError("is not a duration: write one such as 90s, 15m, 2h or 30d")


def format_duration(value: timedelta) -> str:
    """Return a duration in the notation of the configuration, in the largest unit that fits."""
    seconds = int(value.total_seconds())
    for unit in ("d", "h", "m"):
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{seconds // _SECONDS[unit]}{unit}"
    return f"{seconds}s"


Duration = Annotated[
    timedelta,
    BeforeValidator(_parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(
        {"type": "string", "pattern": r"^\d+\s*[smhd]$", "description": "Duration: 90s, 15m, 2h, 30d"}
    ),
]


def _parse_size(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        return int(match[1]) * _BYTES[match[2]]
    raise ValueError("is not a size: write one such as 512MiB or 5GiB")


Size = Annotated[
    int,
    BeforeValidator(_parse_size),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": r"^\d+\s*([KMGT]i)?B$"}]}
    ),
]
"""Number of bytes."""


def _parse_language(value: Any) -> Any:
    if isinstance(value, LanguageTag):
        return value
    if isinstance(value, str):
        return LanguageTag.parse(value)
    raise ValueError("is not a language code: write one such as de, pt-BR or zh-Hans")


Language = Annotated[
    LanguageTag,
    BeforeValidator(_parse_language),
    PlainSerializer(str, return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "minLength": 2,
            "maxLength": 35,
            "description": "BCP 47 language code: de, pt-BR, zh-Hans",
        }
    ),
]


def _parse_share(value: Any) -> Any:
    if isinstance(value, str) and value.strip().endswith("%"):
        try:
            return float(value.strip()[:-1]) / 100
        except ValueError as error:
            raise ValueError("is not a percentage: write one such as 2%") from error
    return value


Share = Annotated[float, BeforeValidator(_parse_share)]
"""Part of a whole: a number from 0 to 1, or a percentage such as 2%."""


def _check_threads(value: Any) -> Any:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    if value in {"half", "all"} or (is_number and 1 <= value <= MAX_THREADS):
        return value
    raise ValueError(f"is not a number of threads: write half, all, or a number from 1 to {MAX_THREADS}")


Threads = Annotated[Literal["half", "all"] | int, BeforeValidator(_check_threads)]


def _check_cron(value: Any) -> Any:
    fields = value.lower().split() if isinstance(value, str) else []
    parts = [
        (part, allowed)
        for field, allowed in zip(fields, _CRON_RANGES, strict=False)
        for part in field.split(",")
    ]
    if len(fields) == len(_CRON_RANGES) and all(_is_cron_part(part, *allowed) for part, allowed in parts):
        return value
    raise ValueError(
        "is not a cron expression: write five fields, minute hour day month weekday, such as 0 4 * * *"
    )


def _is_cron_part(part: str, lowest: int, highest: int) -> bool:
    match = _CRON_PART.fullmatch(part)
    return match is not None and all(
        not number.isdecimal() or lowest <= int(number) <= highest for number in match.groups()[:2] if number
    )


Cron = Annotated[str, BeforeValidator(_check_cron)]
