"""Storage of deliveries and of decisions that no track is made."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from fluxcaption.domain.deliveries import Delivery, DeliveryState
from fluxcaption.domain.gaps import SourceHistory
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.media import Item
from fluxcaption.domain.units import Fingerprint, ItemId, ServerId, SourceId


class Deliveries(Protocol):
    """Deliveries: one for each server, media source and target."""

    async def record_intent(self, delivery: Delivery) -> None:
        """Store a delivery as given, in place of an earlier one. Durable: returns after fsync.

        Raises:
            ValueError: The delivery cannot go to that state (`LEGAL_DELIVERY_MOVES`).
        """

    async def get(self, server_id: ServerId, source_id: SourceId, target: LanguageTag) -> Delivery | None:
        """Return the delivery of a target, None if there never was one."""

    async def find(
        self,
        server_id: ServerId,
        *,
        item_id: ItemId | None = None,
        states: Collection[DeliveryState] = (),
        uploaded_since: datetime | None = None,
    ) -> Sequence[Delivery]:
        """Return deliveries, oldest intent first.

        Args:
            server_id: Server of the deliveries.
            item_id: Id of their item or of their media source; None: all.
            states: Their states; empty: all.
            uploaded_since: Earliest time of the upload, or of the intent if its answer was lost; None: any.
        """

    async def mark_uploaded(
        self, server_id: ServerId, source_id: SourceId, target: LanguageTag, now: datetime
    ) -> None:
        """Store that the server answered the upload.

        Raises:
            ValueError: The delivery cannot go to that state.
        """

    async def mark_confirmed(
        self,
        server_id: ServerId,
        source_id: SourceId,
        target: LanguageTag,
        track_path: str,
        media_revision: str,
        now: datetime,
    ) -> None:
        """Store that the server lists the track; forget the replaced one. Durable: returns after fsync.

        Raises:
            ValueError: The delivery cannot go to that state.
        """

    async def mark_missing(
        self, server_id: ServerId, tracks: Sequence[tuple[SourceId, LanguageTag]], now: datetime
    ) -> None:
        """Store that a complete scan did not list tracks, and count the scan.

        Deliveries that are neither confirmed nor edited nor missing already stay as they are.
        """

    async def set_state(
        self, server_id: ServerId, source_id: SourceId, target: LanguageTag, state: DeliveryState
    ) -> None:
        """Store the end of a delivery; forget its step and the replaced one. Durable: returns after fsync.

        Raises:
            ValueError: The delivery cannot go to that state.
        """


class Skips(Protocol):
    """Decisions to make nothing, by media, target language and settings."""

    async def remember(
        self,
        fingerprint: Fingerprint,
        target: LanguageTag,
        skip_key: str,
        code: str,
        reason: str,
        now: datetime,
    ) -> None:
        """Store a decision to make nothing. Durable: returns after fsync.

        Args:
            fingerprint: Media of the decision.
            target: Target language of the decision.
            skip_key: Key of the settings under which the decision holds; `ANY_SKIP_KEY`: all.
            code: Stable word for the reason.
            reason: Sentence for the user.
            now: Present time.
        """

    async def reason(
        self, fingerprint: Fingerprint, target: LanguageTag, skip_key: str
    ) -> tuple[str, str] | None:
        """Return code and reason of a decision that holds under these settings, None if there is none."""

    async def forget(self, fingerprint: Fingerprint, target: LanguageTag) -> None:
        """Delete the decisions about a target, whatever their settings."""


class History(Protocol):
    """History of media sources over several subjects."""

    async def load(self, items: Sequence[Item], skip_key: str) -> Mapping[SourceId, SourceHistory]:
        """Return the history of the media sources of one server's items; sources without any are left out."""

    async def rebind_moved_media(self, items: Sequence[Item]) -> int:
        """Move everything stored about a media source to its new id. Return the number of moved sources.

        A media source has moved if another id is stored for its path and size.
        """
