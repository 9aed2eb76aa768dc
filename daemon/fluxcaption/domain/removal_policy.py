"""When a track of ours that is not listed any more was taken away by somebody, and when it merely got lost for a while."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

MIN_MISSING_TIME = timedelta(hours=24)
"""Between the first complete pass that did not list it and the one that concludes: a library scan drops good tracks by itself (contract 7.6)."""


class MissingTrackVerdict(StrEnum):
    """What is concluded from a track that is not listed."""

    WAIT = "wait"
    """Nothing yet: it is looked for again."""
    UNLISTED = "unlisted"
    """The file is there: the server only has to look."""
    REFUSED = "refused"
    """Somebody removed it."""


@dataclass(frozen=True, slots=True)
class MissingTrackFacts:
    """What is known at the end of a look that the server was made to look at its files for.

    Attributes:
        missing_since: When a complete pass first did not list it; None at the first time.
        passes: Complete passes without it, this one included.
        scan_is_running: The server has walked its folders while we looked, or does so right now.
        media_is_there: The film itself could be seen just now.
        file_is_there: Whether the subtitle's file is in its folder; None where we cannot look.
    """

    missing_since: datetime | None
    passes: int
    scan_is_running: bool
    media_is_there: bool
    file_is_there: bool | None


def is_missing_long_enough(missing_since: datetime | None, passes: int, now: datetime) -> bool:
    """Whether complete passes missed a track long enough for it to be looked for a last time."""
    return passes >= 2 and missing_since is not None and now - missing_since >= MIN_MISSING_TIME


def classify_missing_track(facts: MissingTrackFacts, now: datetime) -> MissingTrackVerdict:
    """Say what an unlisted track means; a "no" needs two complete passes a day apart and everything else in order."""
    if facts.file_is_there:
        return MissingTrackVerdict.UNLISTED
    is_sure = (
        is_missing_long_enough(facts.missing_since, facts.passes, now)
        and not facts.scan_is_running
        and facts.media_is_there
    )
    return MissingTrackVerdict.REFUSED if is_sure else MissingTrackVerdict.WAIT
