"""Admission of the backlog, the titles that were in the library before FluxCaption."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class BacklogMode(StrEnum):
    """Part of the backlog that is captioned without a request."""

    NONE = "none"
    RECENT = "recent"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class BacklogRules:
    """Backlog settings of the configuration.

    Attributes:
        recent: Maximum age of a title in the mode `recent`, counted from its arrival in the library.
        per_day: Maximum number of titles started in 24 hours.
        newest_first: Order of the titles: newest first, else oldest first.
    """

    mode: BacklogMode
    recent: timedelta
    per_day: int
    newest_first: bool = True


@dataclass(frozen=True, slots=True)
class BacklogProgress:
    """Backlog titles that were started so far.

    Attributes:
        has_started: True if any title was started since the first start of the daemon.
        started_today: Number of titles started in the last 24 hours.
        has_finished: True if any started title has no open job left.
    """

    has_started: bool
    started_today: int
    has_finished: bool


def belongs_to_backlog(added_at: datetime, rules: BacklogRules, now: datetime) -> bool:
    """Return True if the rules allow a title that came at `added_at` to start without a request."""
    if rules.mode is BacklogMode.ALL:
        return True
    return rules.mode is BacklogMode.RECENT and added_at >= now - rules.recent


def titles_to_start(progress: BacklogProgress, rules: BacklogRules) -> int:
    """Return the number of titles that may start now.

    The first title starts alone. After that title is finished, at most `per_day` titles start in 24 hours.
    """
    if not progress.has_started:
        return 1
    if not progress.has_finished:
        return 0
    return max(0, rules.per_day - progress.started_today)
