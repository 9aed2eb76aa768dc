"""Conversions between values of the domain and columns of the database."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime

from fluxcaption.domain.jobs import Provenance
from fluxcaption.domain.language import LanguageTag


def as_ms(moment: datetime) -> int:
    """Return a moment as whole milliseconds since 1970, UTC."""
    return int(moment.timestamp() * 1000)


def optional_ms(moment: datetime | None) -> int | None:
    """Return a moment as whole milliseconds since 1970, None for None."""
    return None if moment is None else as_ms(moment)


def as_time(ms: int) -> datetime:
    """Return the moment, in UTC, of whole milliseconds since 1970."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def optional_time(ms: int | None) -> datetime | None:
    """Return the moment, in UTC, of whole milliseconds since 1970, None for None."""
    return None if ms is None else as_time(ms)


def as_json_list(values: Iterable[str | int]) -> str:
    """Return values as one parameter for `IN (SELECT value FROM json_each(:name))`."""
    return json.dumps(list(values))


def provenance_to_json(provenance: Provenance) -> str:
    """Return a provenance as JSON, empty if nothing is known."""
    return json.dumps(asdict(provenance), ensure_ascii=False) if provenance != Provenance() else ""


def provenance_from_json(text: str) -> Provenance:
    """Return the provenance that `provenance_to_json` wrote."""
    return Provenance(**json.loads(text)) if text else Provenance()


def parse_tag(text: str) -> LanguageTag:
    """Return the tag that `str(tag)` wrote; unlike a foreign spelling it needs no normalization."""
    language, *subtags = text.split("-")
    return LanguageTag(
        language,
        next((subtag for subtag in subtags if len(subtag) == 4), ""),
        next((subtag for subtag in subtags if len(subtag) != 4), ""),
    )


def parse_optional_tag(text: str | None) -> LanguageTag | None:
    """Return the tag that `str(tag)` wrote, None if there is none."""
    return parse_tag(text) if text else None
