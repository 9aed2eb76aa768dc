"""Who watches what, and what that means for our work."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fluxcaption.domain.units import ItemId, SourceId

QUIET_PERIOD_AFTER_PLAYBACK = timedelta(minutes=10)
"""Nothing of an item is changed while it is played and this long after: a change renumbers its tracks under the viewer (contract 4.6)."""

CHECK_IN_WITHIN = timedelta(seconds=90)
"""A client that reports less often than this has gone away (contract 11)."""

FOLLOWED_FOR = timedelta(hours=48)
"""A series counts as being watched for so long after an episode of it was played."""

NEXT_EPISODES = 2


@dataclass(frozen=True, slots=True)
class Playing:
    """Something that is being watched right now.

    Attributes:
        source_id: The version that plays; equal to the item's id where the client does not say.
    """

    item_id: ItemId
    source_id: SourceId
    seen_at: datetime


def do_not_disturb_until(
    item_id: ItemId, source_ids: Collection[SourceId], seen: Sequence[Playing]
) -> datetime | None:
    """Until when an item is left alone because somebody watches it or just did; None when nobody does."""
    moments = [
        playing.seen_at
        for playing in seen
        if playing.item_id == item_id
        or playing.source_id in source_ids
        or SourceId(playing.item_id) in source_ids
    ]
    return max(moments) + QUIET_PERIOD_AFTER_PLAYBACK if moments else None
