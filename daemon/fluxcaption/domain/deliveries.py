"""Deliveries: one for each media source and target language.

The life of a delivery is described as a table in `pipeline/delivery/__init__.py`.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from fluxcaption.domain.jobs import Provenance
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.units import ContentHash, Fingerprint, ItemId, ServerId, SourceId


class DeliveryState(StrEnum):
    """State of a delivered track."""

    INTENDED = "intended"
    """The delivery is stored; the upload may have begun (`sent_at`)."""
    UPLOADED = "uploaded"
    """The server answered the upload; the track was not listed yet."""
    CONFIRMED = "confirmed"
    """The server listed the track with the expected content."""
    MISSING = "missing"
    """A confirmed track is not listed any more."""
    EDITED = "edited"
    """A user edited the track, which is never changed again."""
    REFUSED = "refused"
    """A user removed the track, which is made again only on request."""
    WITHDRAWN = "withdrawn"
    """The daemon removed the track itself."""


EXISTING_STATES = frozenset(
    {DeliveryState.UPLOADED, DeliveryState.CONFIRMED, DeliveryState.MISSING, DeliveryState.EDITED}
)
"""States in which a file of the delivery can exist and be listed."""


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
    """Step of the confirmation that was already taken for a sent track."""

    NONE = ""
    REFRESHED_AFTER_UPLOAD = "refreshed-after-upload"
    """All quick checks failed; the server was asked to refresh the item after the last of them."""
    RESTORING = "restoring"
    """A new track never appeared; this delivery is the replaced track, which was sent again."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A track that was or will be put on the server, with its progress.

    Attributes:
        content_hash: Hash of the bytes that were sent last.
        file_name: Name of the sidecar.
        details: JSON text with source, models, settings and times, for support.
        intended_at: Time at which the delivery was stored first.
        uploaded_at: Time of the server's answer to the upload; None before it.
        confirmed_at: Time at which the track was listed first; None before it.
        item_id: Item at the time of the delivery; the source id of an old delivery without one.
        fingerprint: Fingerprint of the media; empty if it was not read.
        media_revision: Revision of the media that the track was made for; empty if unknown.
        cues_hash: Hash of the cues alone, equal for every spelling of the same cues.
        provenance: Source, recognizer, translator and score of the track.
        track_path: Path under which the server lists the track; empty before it was confirmed.
        previous_ref: Document with the bytes of the replaced track, kept until this delivery is confirmed.
        previous: Delivery of the replaced track; None if there is none. If only `previous_ref` is set, this
            delivery is itself a restored track.
        sent_at: Time at which the upload began; None if nothing was sent.
        missing_since: Time of the first complete scan without the track; None while it is listed.
        missing_scans: Number of complete scans without the track.
        is_requested: True if a user requested the track although a human-made one existed, to which it does
            not yield.
        step: Step of the confirmation that was already taken.
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
    missing_scans: int = 0
    is_requested: bool = False
    step: DeliveryStep = DeliveryStep.NONE

    @property
    def is_unconfirmed(self) -> bool:
        """Return True if the track was sent and not listed yet."""
        return self.sent_at is not None and self.state in {DeliveryState.INTENDED, DeliveryState.UPLOADED}

    @property
    def is_expected(self) -> bool:
        """Return True if a file of this delivery should exist."""
        return self.is_unconfirmed or self.state in {
            DeliveryState.CONFIRMED,
            DeliveryState.MISSING,
            DeliveryState.EDITED,
        }

    def as_sending(self, now: datetime, step: DeliveryStep = DeliveryStep.NONE) -> "Delivery":
        """Return the delivery as it is stored right before its bytes are sent."""
        return replace(
            self,
            sent_at=now,
            uploaded_at=None,
            state=DeliveryState.INTENDED,
            missing_since=None,
            missing_scans=0,
            step=step,
        )

    def as_uploaded(self, now: datetime) -> "Delivery":
        """Return the delivery as it is stored when its content is on the server and has to be confirmed."""
        return replace(self.as_sending(now), uploaded_at=now, state=DeliveryState.UPLOADED)

    def as_unsent(self) -> "Delivery":
        """Return the delivery as it is stored when it has to be sent again."""
        return replace(
            self, sent_at=None, uploaded_at=None, state=DeliveryState.INTENDED, step=DeliveryStep.NONE
        )

    def without_previous(self) -> "Delivery":
        """Return the delivery as it is kept inside the delivery that replaces it."""
        return replace(self, previous=None, previous_ref=None, step=DeliveryStep.NONE)
