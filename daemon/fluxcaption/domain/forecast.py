"""What the whole library would cost, told before it is begun."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from fluxcaption.domain.gaps import Decision, Way
from fluxcaption.domain.units import Ms, SourceId

ASSUMED_LISTENING_SPEED = 4.0
"""× real time, until this machine has listened itself: `small` int8 on a CPU, 13 min in 1 min 42 s on 8 threads, halved for fewer cores.

Source: the recogniser's published table (faster-whisper README, 65882ee).
"""


@dataclass(slots=True)
class Tally:
    """Counts over many decisions; feed it page by page, it keeps no item."""

    by_way: Counter[tuple[str, Way]] = field(default_factory=Counter)
    listen_ms: int = 0
    titles: int = 0
    _heard: set[SourceId] = field(default_factory=set)

    def add(self, decisions: Iterable[Decision]) -> None:
        """Count the decisions of one item; a film is listened to once for all its targets."""
        sources: set[SourceId] = set()
        for decision in decisions:
            self.by_way[(str(decision.target), decision.way)] += 1
            if decision.way.is_work:
                sources.add(decision.source.id)
            if decision.way is Way.LISTEN and decision.source.id not in self._heard:
                self._heard.add(decision.source.id)
                self.listen_ms += decision.source.duration_ms
        self.titles += len(sources)

    def table(self) -> Mapping[str, Mapping[str, int]]:
        """Target, then way, then how many."""
        table: dict[str, dict[str, int]] = {}
        for (target, way), count in sorted(self.by_way.items()):
            table.setdefault(target, {})[way.value] = count
        return table


@dataclass(frozen=True, slots=True)
class Forecast:
    """Hours of listening, and when it would be finished.

    Attributes:
        titles: Media sources with at least one gap that can be filled.
        listening_hours: Sound to hear.
        work_hours: How long this machine would take for it.
        speed: × real time it is computed with.
        is_measured: Whether the speed was measured on this machine.
        finished_at: When all would be done; None where the backlog settings never begin it all.
    """

    titles: int
    listening_hours: float
    work_hours: float
    speed: float
    is_measured: bool
    finished_at: datetime | None


def forecast(tally: Tally, measured_speed: float | None, per_day: int | None, now: datetime) -> Forecast:
    """Compute the cost of everything that was counted; `per_day` None means no daily limit."""
    speed = measured_speed or ASSUMED_LISTENING_SPEED
    listening_hours = Ms(tally.listen_ms) / 3_600_000
    work = timedelta(hours=listening_hours / speed)
    if per_day is None:
        finished = now + work
    elif per_day == 0:
        finished = None
    else:
        finished = now + max(work, timedelta(days=max(0, tally.titles - 1) // per_day))
    return Forecast(tally.titles, listening_hours, work.total_seconds() / 3600, speed, measured_speed is not None, finished)
