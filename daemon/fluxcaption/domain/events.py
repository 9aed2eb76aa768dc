"""Events: webhook notifications about items and playback."""

from dataclasses import dataclass
from datetime import datetime

from fluxcaption.domain.units import ItemId, ServerId

PLAYBACK = frozenset({"PlaybackStart", "PlaybackStop"})
"""Kinds of events that tell of viewers, not of the library."""


@dataclass(frozen=True, slots=True)
class Event:
    """A hint from outside that something changed."""

    id: int
    server_id: ServerId
    kind: str
    item_id: ItemId
    received_at: datetime
    attempts: int = 0
