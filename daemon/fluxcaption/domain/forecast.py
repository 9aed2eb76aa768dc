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


@dataclass(frozen=True, slots=True)
class ItemCount:
    """What one item adds to a tally, short enough to be remembered with it.

    Attributes:
        ways: Each decision as target and way, in one text: few libraries have more than a dozen different ones.
        titles: Media sources with at least one gap that can be filled.
        listen_ms: Sound to hear.
    """

    ways: str
    titles: int
    listen_ms: int


@dataclass(slots=True)
class Tally:
    """Counts over many decisions; feed it page by page, it keeps no item."""

    listen_ms: int = 0
    titles: int = 0
    _by_ways: Counter[str] = field(default_factory=Counter)
    _heard: set[SourceId] = field(default_factory=set)

    def add(self, decisions: Iterable[Decision]) -> ItemCount:
        """Count the decisions of one item, and say what that was; a film is listened to once for all its targets."""
        ways: list[str] = []
        sources: set[SourceId] = set()
        listen_ms = 0
        for decision in decisions:
            ways.append(f"{decision.target} {decision.way}")
            if decision.way.is_work:
                sources.add(decision.source.id)
            if decision.way is Way.LISTEN and decision.source.id not in self._heard:
                self._heard.add(decision.source.id)
                listen_ms += decision.source.duration_ms
        count = ItemCount(",".join(ways), len(sources), listen_ms)
        self.add_count(count)
        return count

    def add_count(self, count: ItemCount) -> None:
        """Count an item again that was decided earlier and has not changed."""
        self._by_ways[count.ways] += 1
        self.titles += count.titles
        self.listen_ms += count.listen_ms

    def table(self) -> Mapping[str, Mapping[str, int]]:
        """Target, then way, then how many."""
        by_way: Counter[tuple[str, str]] = Counter()
        for ways, items in self._by_ways.items():
            for told in filter(None, ways.split(",")):
                target, way = told.rsplit(" ", 1)
                by_way[(target, way)] += items
        table: dict[str, dict[str, int]] = {}
        for (target, way), count in sorted(by_way.items()):
            table.setdefault(target, {})[way] = count
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
