"""Conclusion about a confirmed track that is not listed any more: removed by a user, or lost for a while."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

MIN_MISSING_TIME = timedelta(hours=24)
"""Minimum time between the first complete scan without the track and the conclusion that a user removed it.

A library scan of the server drops good tracks by itself for a while (notes/jellyfin-server.md J37).
"""

MIN_MISSING_SCANS = 2
"""Minimum number of complete scans without the track."""


class MissingTrackVerdict(StrEnum):
    """Conclusion about a track that is not listed."""

    WAIT = "wait"
    """Not certain yet: the next scan checks again."""
    UNLISTED = "unlisted"
    """The file exists; the server has to refresh the item."""
    REFUSED = "refused"
    """A user removed the track."""


@dataclass(frozen=True, slots=True)
class MissingTrackFacts:
    """Facts about a missing track after a refresh of its item.

    Attributes:
        missing_since: Time of the first complete scan without the track; None at the first one.
        scans: Number of complete scans without the track, this one included.
        scan_is_running: True if the server scanned its folders during our scan, or does so now.
        media_is_there: True if the media file was readable just now.
        file_is_there: True if the sidecar exists in its folder; None if the folder is not reachable.
    """

    missing_since: datetime | None
    scans: int
    scan_is_running: bool
    media_is_there: bool
    file_is_there: bool | None


def is_missing_long_enough(missing_since: datetime | None, scans: int, now: datetime) -> bool:
    """Return True if enough complete scans missed a track for long enough to check it a last time."""
    return (
        scans >= MIN_MISSING_SCANS and missing_since is not None and now - missing_since >= MIN_MISSING_TIME
    )


def classify_missing_track(facts: MissingTrackFacts, now: datetime) -> MissingTrackVerdict:
    """Return the conclusion about a missing track. Any doubt gives WAIT."""
    if facts.file_is_there:
        return MissingTrackVerdict.UNLISTED
    is_certain = (
        is_missing_long_enough(facts.missing_since, facts.scans, now)
        and not facts.scan_is_running
        and facts.media_is_there
    )
    return MissingTrackVerdict.REFUSED if is_certain else MissingTrackVerdict.WAIT
