"""Restoring of a replaced track whose replacement was refused, never appeared, or was abandoned."""

import logging
from dataclasses import replace

from fluxcaption.domain.confirm_policy import SECOND_UPLOAD_DELAY
from fluxcaption.domain.deliveries import Delivery, DeliveryState, DeliveryStep
from fluxcaption.domain.errors import JobError, ServiceUnreachable
from fluxcaption.domain.jobs import OPEN_STATES
from fluxcaption.domain.media import Item, MediaSource
from fluxcaption.domain.units import ServerId
from fluxcaption.pipeline.delivery.context import DeliveryDeps, listed_own_tracks
from fluxcaption.pipeline.delivery.own_tracks import ReadTrack, hash_of
from fluxcaption.pipeline.delivery.preconditions import Preconditions

log = logging.getLogger(__name__)


class Restorer:
    """Sends replaced tracks again."""

    def __init__(self, deps: DeliveryDeps, preconditions: Preconditions) -> None:
        self._deps = deps
        self._preconditions = preconditions

    async def restore(
        self, item: Item, source: MediaSource, delivery: Delivery, step: DeliveryStep = DeliveryStep.NONE
    ) -> bool:
        """Send the track that a delivery replaced, as a delivery that is confirmed like any other.

        The caller holds the lock of the item.

        Args:
            item: Item as the server lists it now.
            source: Media source of the delivery.
            delivery: Delivery with the replaced track in `previous_ref`.
            step: Step to store with the restored delivery.

        Returns:
            True if the track was sent, or may have been.
        """
        deps = self._deps
        content = await deps.documents.get(delivery.previous_ref) if delivery.previous_ref else None
        if content is None or await self._preconditions.no_playback(item, source) is not None:
            return False
        track = deps.own_tracks.finished_track(delivery.target, content)
        name = track.file_name(source.stem)
        restored = replace(
            delivery.previous or delivery,
            item_id=item.id,
            source_id=source.id,
            file_name=name,
            previous=None,
            previous_ref=delivery.previous_ref,
        )
        await deps.deliveries.record_intent(restored.as_sending(deps.clock.now(), step))
        try:
            if not await deps.server.write_sidecar(source, name, content):
                await deps.server.upload(source, track)
        except ServiceUnreachable as error:
            if not error.was_sent:
                await deps.deliveries.record_intent(delivery)
            return error.was_sent
        except JobError as error:
            log.warning("the replaced track could not be restored yet: %s", error, extra={"file": name})
            await deps.deliveries.record_intent(delivery)
            return False
        await deps.deliveries.mark_uploaded(item.server_id, source.id, delivery.target, deps.clock.now())
        return True

    async def restore_abandoned(self, server_id: ServerId) -> None:
        """Restore the replaced tracks of deliveries whose job ended midway, for example by a cancellation."""
        for delivery in await self._deps.deliveries.find(
            server_id, states=[DeliveryState.INTENDED, DeliveryState.UPLOADED]
        ):
            if not delivery.previous_ref or await self._has_open_job(delivery):
                continue
            try:
                async with self._deps.locks.hold(delivery.item_id, delivery.source_id):
                    if await self._is_current(delivery):
                        await self._restore_abandoned(delivery)
            except JobError as error:
                log.info(
                    "the replaced track of an ended job could not be restored yet: %s",
                    error,
                    extra={"title": delivery.title, "target": str(delivery.target)},
                )

    async def _is_current(self, delivery: Delivery) -> bool:
        """Return True if no job changed the delivery while this run waited for the lock."""
        current = await self._deps.deliveries.get(delivery.server_id, delivery.source_id, delivery.target)
        return current == delivery

    async def _has_open_job(self, delivery: Delivery) -> bool:
        jobs = await self._deps.jobs.of_source(delivery.server_id, delivery.source_id)
        return any(job.target == delivery.target and job.state in OPEN_STATES for job in jobs)

    async def _restore_abandoned(self, delivery: Delivery) -> None:
        deps = self._deps
        item = await deps.server.fetch_item(delivery.item_id)
        source = item.source(delivery.source_id)
        if source is None:
            return
        tracks = await listed_own_tracks(deps, item, source, delivery)
        if tracks:
            own = await deps.own_tracks.read_all(item.id, source, tracks)
            await self._adopt_listed(source, delivery, own)
            return
        is_same_media = delivery.previous is not None and delivery.previous.media_revision in {
            "",
            source.revision,
        }
        was_just_sent = (
            delivery.sent_at is not None and deps.clock.now() - delivery.sent_at < SECOND_UPLOAD_DELAY
        )
        if is_same_media and not was_just_sent:
            await self.restore(item, source, delivery)

    async def _adopt_listed(self, source: MediaSource, delivery: Delivery, own: list[ReadTrack]) -> None:
        """Store what is listed after all: the new track, or the replaced one, which was never deleted."""
        deps = self._deps
        for found in own:
            if deps.own_tracks.is_what_was_sent(delivery, found.file_name, found.content):
                await deps.deliveries.mark_confirmed(
                    delivery.server_id,
                    source.id,
                    delivery.target,
                    found.track.path or "",
                    delivery.media_revision,
                    deps.clock.now(),
                )
            elif delivery.previous is not None and hash_of(found.content) == delivery.previous_ref:
                await deps.deliveries.record_intent(delivery.previous)
