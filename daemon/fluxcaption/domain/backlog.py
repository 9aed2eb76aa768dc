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
class BacklogStanding:
    """What was begun so far.

    Attributes:
        begun_ever: Titles begun since the first start.
        begun_today: Titles begun in the last 24 hours.
        finished_ever: Titles with no open job left.
    """

    begun_ever: int
    begun_today: int
    finished_ever: int


def belongs_to_backlog(added_at: datetime, rules: BacklogRules, now: datetime) -> bool:
    """Whether a title of the old library is wanted by itself at all."""
    if rules.mode is BacklogMode.ALL:
        return True
    return rules.mode is BacklogMode.RECENT and added_at >= now - rules.recent


def titles_to_begin(standing: BacklogStanding, rules: BacklogRules) -> int:
    """How many more titles may be begun now: one first, and when that is finished at most `per_day` in 24 hours."""
    if standing.begun_ever == 0:
        return 1
    if standing.finished_ever == 0:
        return 0
    return max(0, rules.per_day - standing.begun_today)
