"""How values are spelled in the database, both ways."""

import json
from collections.abc import Collection
from dataclasses import asdict
from datetime import UTC, datetime

from fluxcaption.domain.jobs import Provenance
from fluxcaption.domain.language import LanguageTag


def as_ms(moment: datetime) -> int:
    """A moment as whole milliseconds since 1970."""
    return int(moment.timestamp() * 1000)


def as_time(ms: int) -> datetime:
    """And back."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def maybe_time(ms: int | None) -> datetime | None:
    """And back, where there may be none."""
    return None if ms is None else as_time(ms)


def provenance_text(provenance: Provenance) -> str:
    """How a track was made, as JSON; empty where that is not known."""
    return json.dumps(asdict(provenance), ensure_ascii=False) if provenance != Provenance() else ""


def provenance_of(text: str) -> Provenance:
    """And back."""
    return Provenance(**json.loads(text)) if text else Provenance()


def tag_of(text: str) -> LanguageTag:
    """Our own spelling taken apart; unlike a foreign one it needs no normalising."""
    language, *rest = text.split("-")
    return LanguageTag(
        language,
        next((part for part in rest if len(part) == 4), ""),
        next((part for part in rest if len(part) != 4), ""),
    )


def maybe_ms(moment: datetime | None) -> int | None:
    """Return a moment as whole milliseconds since 1970, None for None."""
    return None if moment is None else as_ms(moment)


def marks(values: Collection[object]) -> str:
    """Return one question mark for each value, for `IN (…)`."""
    return ",".join("?" * len(values))
