"""What the whole library would cost, told before it is begun."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from fluxcaption.domain.gaps import Action, Decision
from fluxcaption.domain.media import Item
from fluxcaption.domain.units import SourceId

MS_PER_HOUR = 3_600_000
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
        added_at: When it came into the library.
    """

    actions: str
    titles: int
    listen_ms: int
    added_at: datetime


@dataclass(slots=True)
class Tally:
    """Counts over many decisions; feed it page by page, it keeps no item.

    Attributes:
        is_begun: Whether what came at that time is begun by itself.
        begun_titles: Of the titles, those that are.
        begun_listen_ms: Sound to hear for them.
    """

    is_begun: Callable[[datetime], bool]
    listen_ms: int = 0
    titles: int = 0
    begun_listen_ms: int = 0
    begun_titles: int = 0
    _by_ways: Counter[str] = field(default_factory=Counter)
    _heard: set[SourceId] = field(default_factory=set)

    def add(self, item: Item, decisions: Iterable[Decision]) -> ItemCount:
        """Count the decisions of one item, and say what that was; a film is listened to once for all its targets."""
        actions: list[str] = []
        sources: set[SourceId] = set()
        listen_ms = 0
        for decision in decisions:
            actions.append(f"{decision.target} {decision.action}")
            if decision.action.is_work:
                sources.add(decision.source.id)
            if decision.action is Action.LISTEN and decision.source.id not in self._heard:
                self._heard.add(decision.source.id)
                listen_ms += decision.source.duration_ms
        count = ItemCount(",".join(actions), len(sources), listen_ms, item.added_at)
        self.add_count(count)
        return count

    def add_count(self, count: ItemCount) -> None:
        """Count an item again that was decided earlier and has not changed."""
        self._by_ways[count.actions] += 1
        self.titles += count.titles
        self.listen_ms += count.listen_ms
        if count.titles and self.is_begun(count.added_at):
            self.begun_titles += count.titles
            self.begun_listen_ms += count.listen_ms

    def table(self) -> Mapping[str, Mapping[str, int]]:
        """Target, then way, then how many."""
        by_way: Counter[tuple[str, str]] = Counter()
        for actions, items in self._by_ways.items():
            for told in filter(None, actions.split(",")):
                target, action = told.rsplit(" ", 1)
                by_way[(target, action)] += items
        table: dict[str, dict[str, int]] = {}
        for (target, action), count in sorted(by_way.items()):
            table.setdefault(target, {})[action] = count
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
        begun_titles: Of the titles, those that are begun by themselves as the backlog settings say.
        finished_at: When those would be done; None where there are none.
    """

    titles: int
    listening_hours: float
    work_hours: float
    speed: float
    is_measured: bool
    begun_titles: int
    finished_at: datetime | None


def forecast_lines(cost: Forecast) -> list[str]:
    """What a person is told of it; nothing where nothing is missing."""
    if not cost.titles:
        return []
    source = "measured on this machine" if cost.is_measured else "assumed until this machine has listened"
    lines = [
        f"All of it: {cost.titles} titles, {cost.listening_hours:.1f} h of sound, {cost.work_hours:.1f} h of work at {cost.speed:.1f} × real time ({source})."
    ]
    if cost.finished_at is None:
        lines.append("By the backlog settings none of it is begun by itself.")
    elif cost.begun_titles < cost.titles:
        lines.append(
            f"By the backlog settings {cost.begun_titles} of them are begun by themselves, finished about {cost.finished_at:%Y-%m-%d}."
        )
    else:
        lines.append(f"Finished about {cost.finished_at:%Y-%m-%d}.")
    return lines


def forecast(tally: Tally, measured_speed: float | None, per_day: int | None, now: datetime) -> Forecast:
    """Compute the cost of everything that was counted; `per_day` None means no daily limit."""
    speed = measured_speed or ASSUMED_LISTENING_SPEED
    hours = tally.listen_ms / MS_PER_HOUR
    begun = 0 if per_day == 0 else tally.begun_titles
    finished: datetime | None = None
    if begun:
        work = timedelta(hours=tally.begun_listen_ms / MS_PER_HOUR / speed)
        finished = now + (work if per_day is None else max(work, timedelta(days=(begun - 1) // per_day)))
    return Forecast(tally.titles, hours, hours / speed, speed, measured_speed is not None, begun, finished)
