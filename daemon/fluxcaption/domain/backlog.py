"""How much of an old library is begun, and when: nobody's machine works for weeks unasked."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class BacklogMode(StrEnum):
    """How much of what was there before is wanted."""

    NONE = "none"
    RECENT = "recent"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class BacklogRules:
    """The owner's wish about the backlog."""

    mode: BacklogMode
    recent: timedelta
    per_day: int
    newest_first: bool = True


@dataclass(frozen=True, slots=True)
class BacklogProgress:
    """What was begun so far.

    Attributes:
        has_begun: Whether any title was begun since the first start.
        begun_today: Titles begun in the last 24 hours.
        has_finished: Whether any of those begun has no open job left.
    """

    has_started: bool
    started_today: int
    has_finished: bool


def belongs_to_backlog(added_at: datetime, rules: BacklogRules, now: datetime) -> bool:
    """Whether a title of the old library is wanted by itself at all."""
    if rules.mode is BacklogMode.ALL:
        return True
    return rules.mode is BacklogMode.RECENT and added_at >= now - rules.recent


def titles_to_start(target_history: BacklogProgress, rules: BacklogRules) -> int:
    """How many more titles may be begun now: one first, and when that is finished at most `per_day` in 24 hours."""
    if not target_history.has_started:
        return 1
    if not target_history.has_finished:
        return 0
    return max(0, rules.per_day - target_history.started_today)
