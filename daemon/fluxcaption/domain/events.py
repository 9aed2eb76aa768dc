"""Events: notifications of a media server about items and playback."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from fluxcaption.domain.units import ItemId, ServerId


class EventKind(StrEnum):
    """Kind of an event; the values are stored in the database."""

    ITEM_ADDED = "ItemAdded"
    ITEM_DELETED = "ItemDeleted"
    PLAYBACK_STARTED = "PlaybackStart"
    PLAYBACK_STOPPED = "PlaybackStop"

    @property
    def is_playback(self) -> bool:
        """Return True if the event is about a viewer, not about the library."""
        return self in {EventKind.PLAYBACK_STARTED, EventKind.PLAYBACK_STOPPED}


@dataclass(frozen=True, slots=True)
class Event:
    """Stored hint from a server that an item changed or is played.

    Attributes:
        server_id: Server that the event claims to come from; empty if the event names none.
        attempts: Number of failed attempts to process the event.
    """

    id: int
    server_id: ServerId
    kind: EventKind
    item_id: ItemId
    received_at: datetime
    attempts: int = 0
