"""Cost of captioning a whole library, computed from the decisions of a scan."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from fluxcaption.domain.gaps import Action, Decision
from fluxcaption.domain.media import Item
from fluxcaption.domain.units import SourceId

MS_PER_HOUR = 3_600_000
ASSUMED_LISTENING_SPEED = 4.0
"""Speed of speech recognition in × real time, used until this machine has measured its own.

Source: published table of the recognizer (faster-whisper README, 65882ee): model `small` with int8 on a CPU
takes 1 min 42 s for 13 min on 8 threads; halved for machines with fewer cores.
"""


@dataclass(frozen=True, slots=True)
class ItemCount:
    """Contribution of one item to a tally, stored with the item.

    Attributes:
        actions: Decisions as `target action`, joined by commas; a library has few different combinations.
        titles: Number of media sources with at least one gap that can be filled.
        listen_ms: Audio to transcribe, in ms.
        added_at: Moment the item came into the library.
    """

    actions: str
    titles: int
    listen_ms: int
    added_at: datetime


@dataclass(slots=True)
class Tally:
    """Sums over the decisions of many items; holds no item.

    Attributes:
        is_begun: Predicate over `added_at`: True if an item of that age starts without a request.
        listen_ms: Audio to transcribe, in ms.
        titles: Number of media sources with at least one gap that can be filled.
        begun_listen_ms: Part of `listen_ms` that starts without a request.
        begun_titles: Part of `titles` that starts without a request.
    """

    is_begun: Callable[[datetime], bool]
    listen_ms: int = 0
    titles: int = 0
    begun_listen_ms: int = 0
    begun_titles: int = 0
    _items_by_actions: Counter[str] = field(default_factory=Counter)
    _counted_sources: set[SourceId] = field(default_factory=set)

    def add(self, item: Item, decisions: Iterable[Decision]) -> ItemCount:
        """Add the decisions of one item and return its count; audio counts once for all targets."""
        actions: list[str] = []
        sources: set[SourceId] = set()
        listen_ms = 0
        for decision in decisions:
            actions.append(f"{decision.target} {decision.action}")
            if decision.action.is_work:
                sources.add(decision.source.id)
            if decision.action is Action.LISTEN and decision.source.id not in self._counted_sources:
                self._counted_sources.add(decision.source.id)
                listen_ms += decision.source.duration_ms
        count = ItemCount(",".join(actions), len(sources), listen_ms, item.added_at)
        self.add_count(count)
        return count

    def add_count(self, count: ItemCount) -> None:
        """Add the stored count of an item that has not changed since it was decided."""
        self._items_by_actions[count.actions] += 1
        self.titles += count.titles
        self.listen_ms += count.listen_ms
        if count.titles and self.is_begun(count.added_at):
            self.begun_titles += count.titles
            self.begun_listen_ms += count.listen_ms

    def table(self) -> Mapping[str, Mapping[str, int]]:
        """Return the number of decisions by target, then by action."""
        totals: Counter[tuple[str, str]] = Counter()
        for actions, items in self._items_by_actions.items():
            for entry in filter(None, actions.split(",")):
                target, action = entry.rsplit(" ", 1)
                totals[(target, action)] += items
        table: dict[str, dict[str, int]] = {}
        for (target, action), count in sorted(totals.items()):
            table.setdefault(target, {})[action] = count
        return table


@dataclass(frozen=True, slots=True)
class Forecast:
    """Hours of transcription and the date at which they are done.

    Attributes:
        titles: Number of media sources with at least one gap that can be filled.
        listening_hours: Audio to transcribe, in hours.
        work_hours: Time this machine takes for `listening_hours`, in hours.
        speed: Speed used for the forecast, in × real time.
        is_measured: True if `speed` was measured on this machine.
        begun_titles: Part of `titles` that starts without a request under the backlog settings.
        finished_at: Expected end of the work on `begun_titles`; None without such titles.
    """

    titles: int
    listening_hours: float
    work_hours: float
    speed: float
    is_measured: bool
    begun_titles: int
    finished_at: datetime | None


def forecast(tally: Tally, measured_speed: float | None, per_day: int | None, now: datetime) -> Forecast:
    """Compute the cost of everything in the tally.

    Args:
        tally: Sums of a complete scan.
        measured_speed: Speed of speech recognition in × real time; None before the first measurement.
        per_day: Maximum number of titles started in 24 hours; None without a limit.
        now: Present time.
    """
    speed = measured_speed or ASSUMED_LISTENING_SPEED
    hours = tally.listen_ms / MS_PER_HOUR
    begun_titles = 0 if per_day == 0 else tally.begun_titles
    finished_at: datetime | None = None
    if begun_titles:
        work = timedelta(hours=tally.begun_listen_ms / MS_PER_HOUR / speed)
        if per_day is not None:
            work = max(work, timedelta(days=(begun_titles - 1) // per_day))
        finished_at = now + work
    return Forecast(
        tally.titles, hours, hours / speed, speed, measured_speed is not None, begun_titles, finished_at
    )
