"""Playback on the server, and how long a played item must not be changed."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fluxcaption.domain.units import ItemId, SourceId

QUIET_PERIOD_AFTER_PLAYBACK = timedelta(minutes=10)
"""Time after playback without changes to the item (notes/jellyfin-server.md J23)."""

NEXT_EPISODE_PERIOD = timedelta(hours=48)
"""Time after playback of an episode during which its series counts as being watched."""

NEXT_EPISODES = 2
"""Number of episodes after the played one that get a higher priority."""


@dataclass(frozen=True, slots=True)
class Playing:
    """Item that is being played.

    Attributes:
        source_id: Played version; equal to the id of the item if the client does not name a version.
        seen_at: Moment of the latest report about the playback.
    """

    item_id: ItemId
    source_id: SourceId
    seen_at: datetime


def do_not_disturb_until(
    item_id: ItemId, source_ids: Collection[SourceId], seen: Sequence[Playing]
) -> datetime | None:
    """Return the end of the time in which playback forbids changes to an item; None without playback."""
    moments = [
        playing.seen_at
        for playing in seen
        if playing.item_id == item_id
        or playing.source_id in source_ids
        or SourceId(playing.item_id) in source_ids
    ]
    return max(moments) + QUIET_PERIOD_AFTER_PLAYBACK if moments else None
