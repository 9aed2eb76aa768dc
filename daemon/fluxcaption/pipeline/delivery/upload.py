"""Stage `upload`: send a finished track once, in the place of an earlier track of ours if there is one."""

from collections.abc import Sequence
from datetime import timedelta

from fluxcaption.domain.confirm_policy import CONFIRM_DELAYS, MAX_UPLOAD_ATTEMPTS, refusal_pause
from fluxcaption.domain.deliveries import Delivery, DeliveryState
from fluxcaption.domain.errors import (
    DiskLow,
    JobError,
    NameTooLong,
    ServerRefusesUploads,
    ServiceUnreachable,
    WriteRefused,
)
from fluxcaption.domain.jobs import Job, JobState, Outcome, Stage
from fluxcaption.domain.media import SubtitleTrack
from fluxcaption.domain.reasons import ReasonCode
from fluxcaption.domain.units import ItemId
from fluxcaption.pipeline.delivery.context import (
    DeliveryContext,
    DeliveryDeps,
    count_refusal,
    load_context,
)
from fluxcaption.pipeline.delivery.intent import new_intent, new_intent_keeping
from fluxcaption.pipeline.delivery.own_tracks import ReadTrack, unlisted_sidecar
from fluxcaption.pipeline.delivery.preconditions import Preconditions
from fluxcaption.pipeline.delivery.restore import Restorer
from fluxcaption.pipeline.delivery.withdraw import Withdrawer

MEDIA_AWAY_PAUSE = timedelta(minutes=10)

MAX_NAME_BYTES = 255
"""Longest file name that common file systems accept."""

MAX_WAIT_FOR_LANGUAGE = timedelta(minutes=30)
"""Longest wait for another language of the same media source that is still queued."""

MAX_WAIT_FOR_RUNNING_LANGUAGE = timedelta(hours=2)
"""Longest wait for another language that is being made.

Each delivery renumbers the item's tracks (notes/jellyfin-server.md J23).
"""

REFRESH_BEFORE_UPLOAD_S = CONFIRM_DELAYS[1].total_seconds()
"""Time that the server gets to list an earlier track again before a new one is sent."""


class Uploader:
    """Runs the stage `upload`."""

    def __init__(
        self, deps: DeliveryDeps, preconditions: Preconditions, restorer: Restorer, withdrawer: Withdrawer
    ) -> None:
        self._deps = deps
        self._preconditions = preconditions
        self._restorer = restorer
        self._withdrawer = withdrawer

    async def upload(self, job: Job) -> Outcome:
        """Send the finished track once; `Confirmer.confirm` checks whether it arrived.

        A job without a finished track removes the track of ours instead.

        Raises:
            ItemGone: The item or its media source no longer exists.
            NameTooLong: No file system accepts the name of the track.
            JobError: The server failed before the track was sent.
        """
        async with self._deps.locks.hold(job.item_id, job.source_id):
            if (outcome := await self._preconditions.not_cancelled(job)) is not None:
                return outcome
            if job.track_ref is None:
                return await self._withdrawer.withdraw(job)
            content = await self._deps.documents.get(job.track_ref)
            if content is None:
                return Outcome.next(
                    Stage.ACQUIRE, "the finished track is not stored any more and is made again"
                )
            return await self._upload(job, content)

    async def _upload(self, job: Job, content: bytes, *, was_refreshed: bool = False) -> Outcome:
        """Check the preconditions in order, then replace the earlier track or send.

        `was_refreshed` is True if the server was just asked to list an earlier track again.
        """
        context = await load_context(self._deps, job, content)
        for precondition in (
            self._media_unchanged,
            self._has_cues,
            self._not_refused,
            self._no_other_language_soon,
            self._name_fits,
            self._not_sent_before,
            self._not_covered,
        ):
            if (outcome := await precondition(context)) is not None:
                return outcome
        own = await self._read_own_tracks(context)
        if (outcome := await self._identical_or_edited(context, own)) is not None:
            return outcome
        for precondition in (self._media_exists, self._no_playback):
            if (outcome := await precondition(context)) is not None:
                return outcome
        intent = await new_intent_keeping(self._deps, context, own)
        if not own and not self._deps.server.capabilities.replaces_on_upload:
            if context.last_delivery is not None and context.last_delivery.is_expected and not was_refreshed:
                return await self._refresh_and_restart(context)
            own = await self._read_unlisted_track(context)
            if (outcome := await self._identical_or_edited(context, own)) is not None:
                return outcome
        if own:
            return await self._replace(context, intent, [found.track for found in own])
        await self._deps.deliveries.record_intent(intent)
        return await self._send(context, intent)

    # -- preconditions ----------------------------------------------------------------------------

    async def _media_unchanged(self, context: DeliveryContext) -> Outcome | None:
        """Make the track again if the media may have been replaced.

        Any new revision counts as a replacement until the file was read.
        """
        job, source = context.job, context.source
        if job.fingerprint is None:
            return None
        identity = await self._deps.identities.get(job.server_id, source.id, source.revision)
        if identity is not None and identity.fingerprint == job.fingerprint:
            return None
        return Outcome.next(
            Stage.ACQUIRE,
            "the media was replaced while its track was made; the track is made for the new file",
        )

    async def _has_cues(self, context: DeliveryContext) -> Outcome | None:
        if self._deps.own_tracks.has_cues(context.track.content):
            return None
        return Outcome.failed("the finished track has no cues; nothing is delivered", ReasonCode.EMPTY_TRACK)

    async def _not_refused(self, context: DeliveryContext) -> Outcome | None:
        return await self._preconditions.not_refused(context.job, context.last_delivery)

    async def _no_other_language_soon(self, context: DeliveryContext) -> Outcome | None:
        """Wait while another language is expected soon, so that viewers are disturbed only once."""
        job = context.job
        if not self._deps.server.capabilities.reports_playback or job.ready_at is None:
            return None
        now = self._deps.clock.now()
        waited = now - job.ready_at
        if waited >= MAX_WAIT_FOR_RUNNING_LANGUAGE:
            return None
        is_early = waited < MAX_WAIT_FOR_LANGUAGE
        for other in await self._deps.jobs.of_source(job.server_id, job.source_id):
            if other.id == job.id or other.stage not in {Stage.ACQUIRE, Stage.TRANSLATE} or other.is_held:
                continue
            is_due_soon = (
                other.state is JobState.QUEUED
                and other.next_try_at <= now + MAX_WAIT_FOR_LANGUAGE
                and is_early
            )
            if other.state is JobState.RUNNING or is_due_soon:
                return Outcome.waiting(
                    Stage.UPLOAD,
                    (MAX_WAIT_FOR_LANGUAGE if is_early else MAX_WAIT_FOR_RUNNING_LANGUAGE) - waited,
                    f"finished; it waits for the {other.target} track, so that both are delivered together",
                    ReasonCode.WAITING_FOR_LANGUAGES,
                )
        return None

    async def _name_fits(self, context: DeliveryContext) -> Outcome | None:
        name = context.track.file_name(context.source.stem)
        if len(name.encode()) > MAX_NAME_BYTES:
            raise NameTooLong(name)
        return None

    async def _not_sent_before(self, context: DeliveryContext) -> Outcome | None:
        """Confirm instead if a track was sent and may have arrived."""
        if context.last_delivery is not None and context.last_delivery.is_unconfirmed:
            return Outcome.next(Stage.CONFIRM, "a track was sent before and may have arrived")
        return None

    async def _not_covered(self, context: DeliveryContext) -> Outcome | None:
        """End the job if a track of others serves the target by now, unless a user asked for another one."""
        if not context.foreign_tracks or context.job.request.redo:
            return None
        last_delivery = context.last_delivery
        if last_delivery is not None and last_delivery.state is DeliveryState.INTENDED:
            await self._deps.deliveries.set_state(
                context.item.server_id, context.source.id, context.job.target, DeliveryState.WITHDRAWN
            )
        name = context.foreign_tracks[0].file_name or "an embedded track"
        return Outcome.done(f"superseded: {name} serves {context.job.target} now")

    async def _media_exists(self, context: DeliveryContext) -> Outcome | None:
        if await self._deps.server.media_exists(context.source):
            return None
        return Outcome.parked(
            MEDIA_AWAY_PAUSE,
            f"{context.source.stem} is not readable now. The track is delivered when the file is back."
            " Check that its disk is mounted.",
            ReasonCode.MEDIA_AWAY,
        )

    async def _no_playback(self, context: DeliveryContext) -> Outcome | None:
        return await self._preconditions.no_playback(context.item, context.source)

    # -- earlier tracks of ours -------------------------------------------------------------------

    async def _read_own_tracks(self, context: DeliveryContext) -> Sequence[ReadTrack]:
        """Return the listed tracks of ours that the new track replaces."""
        own_tracks = self._deps.own_tracks
        tracks = own_tracks.find(
            context.source,
            context.job.target,
            context.track.file_name(context.source.stem),
            context.last_delivery,
            context.history.tracks,
        )
        return await own_tracks.read_all(context.item.id, context.source, tracks)

    async def _identical_or_edited(
        self, context: DeliveryContext, own: Sequence[ReadTrack]
    ) -> Outcome | None:
        """Confirm a track that is on the server already; keep a track that a user edited."""
        own_tracks, last_delivery = self._deps.own_tracks, context.last_delivery
        for found in own:
            if own_tracks.is_same(found.file_name, found.content, context.track):
                return await self._confirm_existing(context)
            if not own_tracks.is_partial(
                last_delivery, found.content, context.track
            ) and await own_tracks.was_edited(context.item.id, context.source, found, last_delivery):
                return await self._preconditions.keep_edited_track(
                    context.job, last_delivery, found.file_name
                )
        return None

    async def _confirm_existing(self, context: DeliveryContext) -> Outcome:
        intent = new_intent(self._deps, context)
        await self._deps.deliveries.record_intent(intent.as_uploaded(self._deps.clock.now()))
        return Outcome.next(Stage.CONFIRM)

    async def _refresh_and_restart(self, context: DeliveryContext) -> Outcome:
        """Make the server look for our earlier track before another is sent, then start again.

        An existing file that the server does not list would make it store the new track under a second name.
        """
        job = context.job
        await self._deps.server.refresh(ItemId(context.source.id))
        await self._deps.clock.sleep(REFRESH_BEFORE_UPLOAD_S)
        if (outcome := await self._preconditions.not_cancelled(job)) is not None:
            return outcome
        return await self._upload(job, context.track.content, was_refreshed=True)

    async def _read_unlisted_track(self, context: DeliveryContext) -> Sequence[ReadTrack]:
        """Return an earlier track of ours that exists in a reachable folder and is not listed."""
        name = context.track.file_name(context.source.stem)
        content = await self._deps.own_tracks.read_sidecar(context.source, name)
        return [ReadTrack(unlisted_sidecar(context.source, name), content)] if content else []

    # -- changes on the server --------------------------------------------------------------------

    async def _replace(
        self, context: DeliveryContext, intent: Delivery, own: Sequence[SubtitleTrack]
    ) -> Outcome:
        """Write over our earlier track if its folder is reachable; otherwise delete it and send."""
        deps = self._deps
        item, source = context.item, context.source
        await deps.deliveries.record_intent(intent)
        first = own[0]
        is_written = first.folder == source.folder and await deps.server.write_sidecar(
            source, first.file_name, context.track.content
        )
        if is_written:
            await deps.deliveries.record_intent(intent.as_uploaded(deps.clock.now()))
        try:
            for track in own[1:] if is_written else own:
                if (wait := await self._preconditions.no_playback(item, source)) is not None:
                    return wait
                await deps.server.delete(item.id, source, track)
        except WriteRefused as error:
            if not is_written and context.last_delivery is not None:
                await deps.deliveries.record_intent(context.last_delivery)
            return Outcome.parked(await count_refusal(deps, context.job), str(error), error.code)
        if is_written:
            return Outcome.next(Stage.CONFIRM)
        return await self._send(context, intent)

    async def _send(self, context: DeliveryContext, intent: Delivery) -> Outcome:
        """Send the track. The delivery is stored as sent before, since the answer may be lost."""
        if (wait := await self._preconditions.no_playback(context.item, context.source)) is not None:
            return wait
        deps, job, capabilities = self._deps, context.job, self._deps.server.capabilities
        upload_attempts = job.upload_attempts + 1
        await deps.jobs.update_progress(job.id, upload_attempts=upload_attempts, confirm_attempts=0)
        await deps.deliveries.record_intent(intent.as_sending(deps.clock.now()))
        try:
            await deps.server.upload(context.source, context.track)
        except ServiceUnreachable as error:
            if error.was_sent:
                return Outcome.next(
                    Stage.CONFIRM,
                    "the server did not answer the upload, which may have arrived",
                    CONFIRM_DELAYS[1],
                )
            await self._record_not_sent(job, intent)
            raise
        except (ServerRefusesUploads, WriteRefused, DiskLow) as error:
            was_never_sent = isinstance(error, ServerRefusesUploads) and not error.was_sent
            if was_never_sent or not capabilities.can_leave_partial_upload:
                upload_attempts = job.upload_attempts
                await self._record_not_sent(job, intent)
            else:
                await deps.deliveries.record_intent(intent)
            return await self._refused(context, intent, error, upload_attempts)
        except JobError:
            await self._record_not_sent(job, intent)
            raise
        await deps.deliveries.mark_uploaded(
            context.item.server_id, context.source.id, job.target, deps.clock.now()
        )
        return Outcome.next(
            Stage.CONFIRM, wait=CONFIRM_DELAYS[0] if capabilities.has_library_scan else timedelta(0)
        )

    async def _record_not_sent(self, job: Job, intent: Delivery) -> None:
        await self._deps.jobs.update_progress(job.id, upload_attempts=job.upload_attempts)
        await self._deps.deliveries.record_intent(intent)

    async def _refused(
        self, context: DeliveryContext, intent: Delivery, error: JobError, upload_attempts: int
    ) -> Outcome:
        """Restore the replaced track after a refusal; try again a few times at growing pauses."""
        if intent.previous_ref and await self._restorer.restore(context.item, context.source, intent):
            return Outcome.waiting(Stage.CONFIRM, CONFIRM_DELAYS[0], str(error), error.code)
        if (
            upload_attempts >= MAX_UPLOAD_ATTEMPTS
            and not intent.previous_ref
            and isinstance(error, ServerRefusesUploads)
        ):
            return Outcome.failed(str(error), error.code)
        return Outcome.parked(refusal_pause(upload_attempts), str(error), error.code)
