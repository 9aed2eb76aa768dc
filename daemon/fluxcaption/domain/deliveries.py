"""Deliveries: tracks on their way to the server, one for each media source and target."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from fluxcaption.domain.jobs import Provenance
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.units import ContentHash, Fingerprint, ItemId, ServerId, SourceId


class DeliveryState(StrEnum):
    """How far one of our tracks got."""

    INTENDED = "intended"
    UPLOADED = "uploaded"
    CONFIRMED = "confirmed"
    MISSING = "missing"
    """It was confirmed and is not listed now."""
    EDITED = "edited"
    """Somebody worked on it: it is theirs now."""
    REFUSED = "refused"
    """Somebody removed it: it is not made again by itself."""
    WITHDRAWN = "withdrawn"
    """We removed it ourselves."""


FIRST_DELIVERY_STATES = frozenset({DeliveryState.INTENDED, DeliveryState.UPLOADED})
"""States of a new delivery; `uploaded`: the file of an unrecorded upload was found."""

_ANY_BUT_SEEN = frozenset(DeliveryState) - {DeliveryState.CONFIRMED, DeliveryState.MISSING}

LEGAL_DELIVERY_MOVES: dict[DeliveryState, frozenset[DeliveryState]] = {
    # A replacement that is refused gives the delivery its earlier state back, whatever that was.
    DeliveryState.INTENDED: frozenset(DeliveryState),
    DeliveryState.UPLOADED: frozenset(DeliveryState),
    DeliveryState.CONFIRMED: frozenset(DeliveryState),
    DeliveryState.MISSING: frozenset(DeliveryState),
    # An edited track belongs to the user and is never confirmed; a removed one only after another upload.
    DeliveryState.EDITED: frozenset(DeliveryState) - {DeliveryState.CONFIRMED},
    DeliveryState.REFUSED: _ANY_BUT_SEEN,
    DeliveryState.WITHDRAWN: _ANY_BUT_SEEN,
}
"""Moves of a delivery, the one to its own state included: an intent is recorded again with other facts."""


class DeliveryStep(StrEnum):
    """Special step a delivery is in, beside its state."""

    NONE = ""
    REFRESHED_BEFORE_UPLOAD = "refreshed-before-upload"
    """An earlier track is not listed; the server was asked to refresh the item before the next upload."""
    REFRESHED_AFTER_UPLOAD = "refreshed-after-upload"
    """Every confirm attempt failed; the server was asked to refresh the item."""
    RESTORING = "restoring"
    """The new track was refused or never appeared; the replaced one is being restored."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What we meant to put on the server, and how far that got.

    Attributes:
        file_name: The sidecar's name.
        provenance: JSON: source, models, settings, times.
        made_for: Revision of the media it was made for.
        cues_hash: Over the cues alone: the same wherever the file lies and however a server spells it.
        grade: How it was made: from what, by which backends, with which score.
        track_path: Where the server lists it.
        previous_ref: Bytes to be put back should this come to nothing; kept until it is confirmed.
        previous: The delivery those bytes were; None with bytes: this one is being put back itself.
        sent_at: When sending began; None: nothing was sent.
        is_asked: A person asked for it beside a human's track: it does not yield to that.
        missing_since: When a complete pass first did not list it.
    """

    server_id: ServerId
    source_id: SourceId
    target: LanguageTag
    content_hash: ContentHash
    file_name: str
    details: str
    intended_at: datetime
    uploaded_at: datetime | None = None
    confirmed_at: datetime | None = None
    item_id: ItemId = ItemId("")
    title: str = ""
    fingerprint: Fingerprint = Fingerprint("")
    media_revision: str = ""
    cues_hash: ContentHash = ContentHash("")
    provenance: Provenance = Provenance()
    track_path: str = ""
    previous_ref: ContentHash | None = None
    previous: "Delivery | None" = None
    sent_at: datetime | None = None
    state: DeliveryState = DeliveryState.INTENDED
    missing_since: datetime | None = None
    missing_passes: int = 0
    is_requested: bool = False
    step: DeliveryStep = DeliveryStep.NONE

    @property
    def is_unconfirmed(self) -> bool:
        """Whether it was sent, perhaps arrived, and was not seen yet."""
        return self.sent_at is not None and self.state in {DeliveryState.INTENDED, DeliveryState.UPLOADED}

    @property
    def is_expected(self) -> bool:
        """Whether a file of it should lie there."""
        return self.is_unconfirmed or self.state in {
            DeliveryState.CONFIRMED,
            DeliveryState.MISSING,
            DeliveryState.EDITED,
        }
