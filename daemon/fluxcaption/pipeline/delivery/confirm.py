"""Stage `confirm`: read a sent track back from the server, and decide what to do if it is not listed."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from fluxcaption.domain.confirm_policy import (
    CONFIRM_DELAYS,
    MAX_UPLOAD_ATTEMPTS,
    SECOND_UPLOAD_DELAY,
    ConfirmAction,
    ConfirmFacts,
    next_confirm_action,
    refusal_pause,
)
from fluxcaption.domain.deliveries import Delivery, DeliveryState, DeliveryStep
from fluxcaption.domain.errors import ReplyUnusable
from fluxcaption.domain.jobs import Job, Outcome, Stage
from fluxcaption.domain.media import SubtitleTrack
from fluxcaption.domain.reasons import ReasonCode
from fluxcaption.pipeline.delivery.context import DeliveryContext, DeliveryDeps, load_context
from fluxcaption.pipeline.delivery.own_tracks import ReadTrack, hash_of
from fluxcaption.pipeline.delivery.preconditions import Preconditions
from fluxcaption.pipeline.delivery.restore import Restorer

log = logging.getLogger(__name__)

REFRESH_AFTER_ATTEMPT = 5
"""Number of the failed check after which the server is asked once to refresh the item."""

NOT_VISIBLE_PAUSE = timedelta(hours=1)
"""Pause between further checks of a track that never appeared."""

_CHECK_SERVER = "Check the server's log and its permissions for the folder."


class Confirmer:
    """Runs the stage `confirm`."""

    def __init__(self, deps: DeliveryDeps, preconditions: Preconditions, restorer: Restorer) -> None:
        self._deps = deps
        self._preconditions = preconditions
        self._restorer = restorer

    async def confirm(self, job: Job) -> Outcome:
        """Check whether the sent track is listed with its content.

        A failed check is repeated at growing delays; afterwards `next_confirm_action` decides.

        Raises:
            ItemGone: The item or its media source no longer exists.
        """
        async with self._deps.locks.hold(job.item_id, job.source_id):
            if (outcome := await self._preconditions.not_cancelled(job)) is not None:
                return outcome
            content = await self._deps.documents.get(job.track_ref) if job.track_ref else None
            if content is None:
                return Outcome.next(
                    Stage.ACQUIRE, "the finished track is not stored any more and is made again"
                )
            return await self._confirm(await load_context(self._deps, job, content))

    async def _confirm(self, context: DeliveryContext) -> Outcome:
        delivery = context.last_delivery
        if (outcome := await self._preconditions.not_refused(context.job, delivery)) is not None:
            return outcome
        if delivery is None or not (
            delivery.is_unconfirmed or delivery.state in {DeliveryState.CONFIRMED, DeliveryState.MISSING}
        ):
            return Outcome.next(Stage.UPLOAD, "nothing was sent yet")
        others: list[ReadTrack] = []
        for listed in await self._read_listed(context, delivery):
            if self._deps.own_tracks.is_what_was_sent(delivery, listed.file_name, listed.content):
                return await self._record_listed(context.job, delivery, listed.track)
            others.append(listed)
        return await self._not_listed(context, delivery, others)

    async def _read_listed(self, context: DeliveryContext, delivery: Delivery) -> Sequence[ReadTrack]:
        """Return the listed tracks that can be the delivered one, without those that are not readable now."""
        own_tracks = self._deps.own_tracks
        found: list[ReadTrack] = []
        for track in own_tracks.find(context.source, context.job.target, delivery.file_name, delivery):
            try:
                content = await own_tracks.read(context.item.id, context.source, track)
            except ReplyUnusable as error:
                log.info("a delivered track could not be read back at this check: %s", error)
            else:
                found.append(ReadTrack(track, content))
        return found

    async def _record_listed(self, job: Job, delivery: Delivery, track: SubtitleTrack) -> Outcome:
        """Store that the track is listed; if it is an earlier track, decide about the finished one."""
        await self._deps.deliveries.mark_confirmed(
            job.server_id,
            job.source_id,
            job.target,
            track.path or "",
            delivery.media_revision,
            self._deps.clock.now(),
        )
        if delivery.content_hash == job.track_ref:
            return Outcome.done(", ".join(filter(None, (track.file_name, job.provenance.description))))
        # An earlier track is listed, which an earlier job has sent, or this one has restored.
        if not job.upload_attempts:
            return Outcome.next(Stage.UPLOAD)
        if delivery.step is not DeliveryStep.NONE:
            return Outcome.failed(
                f"{delivery.file_name} was not listed; the previous track is listed again. {_CHECK_SERVER}",
                ReasonCode.NOT_VISIBLE,
            )
        if job.upload_attempts >= MAX_UPLOAD_ATTEMPTS:
            return Outcome.failed(
                "the previous track is listed again;"
                f" the new one was not listed after {job.upload_attempts} uploads"
                f" ({job.reason})",
                ReasonCode.NOT_VISIBLE,
            )
        return Outcome.waiting(Stage.UPLOAD, refusal_pause(job.upload_attempts), job.reason, job.reason_code)

    # -- a track that is not listed ---------------------------------------------------------------

    async def _not_listed(
        self, context: DeliveryContext, delivery: Delivery, others: Sequence[ReadTrack]
    ) -> Outcome:
        """Count the failed check, and check again or take the next action."""
        job = context.job
        confirm_attempts = job.confirm_attempts + 1
        await self._deps.jobs.update_progress(job.id, confirm_attempts=confirm_attempts)
        if confirm_attempts == REFRESH_AFTER_ATTEMPT:
            await self._deps.playback.refresh_unless_playing(context.item.id, context.source.id)
        if confirm_attempts < len(CONFIRM_DELAYS):
            return Outcome.waiting(
                Stage.CONFIRM, CONFIRM_DELAYS[confirm_attempts], job.reason, job.reason_code
            )
        if others:
            return await self._other_content(job, delivery, others[0])
        facts = await self._facts(context, delivery, confirm_attempts)
        action = next_confirm_action(facts)
        if action is ConfirmAction.WRITE:
            if (outcome := await self._write_sidecar(context, delivery)) is not None:
                return outcome
            action = next_confirm_action(replace(facts, file_is_there=None))
        return await self._act(action, context, delivery, facts)

    async def _other_content(self, job: Job, delivery: Delivery, other: ReadTrack) -> Outcome:
        """Decide about other content under our name: the track to be replaced, or the work of a user."""
        if delivery.previous is not None and hash_of(other.content) == delivery.previous_ref:
            await self._deps.deliveries.record_intent(delivery.previous)
            return Outcome.failed(
                "the new track never appeared; the earlier track is still there", ReasonCode.NOT_VISIBLE
            )
        return await self._preconditions.keep_edited_track(job, delivery, other.file_name)

    async def _facts(
        self, context: DeliveryContext, delivery: Delivery, confirm_attempts: int
    ) -> ConfirmFacts:
        own_tracks, source = self._deps.own_tracks, context.source
        sent_at = delivery.sent_at or delivery.intended_at
        scan = await self._deps.server.library_scan()
        content = await own_tracks.read_sidecar(source, delivery.file_name)
        is_folder_reachable = await own_tracks.sidecar_exists(source, delivery.file_name) is not None
        return ConfirmFacts(
            confirm_attempts=confirm_attempts,
            upload_attempts=context.job.upload_attempts,
            since_sent=self._deps.clock.now() - sent_at,
            was_refreshed=delivery.step is DeliveryStep.REFRESHED_AFTER_UPLOAD,
            scan_is_running=scan.is_running,
            was_scanned=scan.has_run_since(sent_at),
            file_is_there=bool(content) if is_folder_reachable else None,
            replaced_another=delivery.previous is not None,
        )

    async def _act(
        self, action: ConfirmAction, context: DeliveryContext, delivery: Delivery, facts: ConfirmFacts
    ) -> Outcome:
        """Restore the replaced track, send the finished one again, or wait after a refresh."""
        if action in {ConfirmAction.RESTORE, ConfirmAction.UPLOAD_AGAIN}:
            wait = await self._preconditions.no_playback(context.item, context.source, Stage.CONFIRM)
            if wait is not None:
                return wait
        is_restored_track = (
            delivery.content_hash != context.track.content_hash and delivery.previous_ref is not None
        )
        if action is ConfirmAction.RESTORE or (action is ConfirmAction.UPLOAD_AGAIN and is_restored_track):
            if (outcome := await self._restore(context, delivery)) is not None:
                return outcome
        elif action is ConfirmAction.UPLOAD_AGAIN:
            await self._deps.deliveries.record_intent(delivery.as_unsent())
            return Outcome.next(
                Stage.UPLOAD, "the track never appeared, not even after a library scan; it is sent again"
            )
        return await self._refresh_and_wait(context, delivery, facts)

    async def _restore(self, context: DeliveryContext, delivery: Delivery) -> Outcome | None:
        """Restore the replaced track; None if nothing was sent."""
        if not await self._restorer.restore(context.item, context.source, delivery, DeliveryStep.RESTORING):
            return None
        await self._deps.jobs.update_progress(
            context.job.id, confirm_attempts=0, upload_attempts=context.job.upload_attempts + 1
        )
        return Outcome.waiting(
            Stage.CONFIRM, CONFIRM_DELAYS[0], _never_visible(delivery.file_name), ReasonCode.RESTORING
        )

    async def _refresh_and_wait(
        self, context: DeliveryContext, delivery: Delivery, facts: ConfirmFacts
    ) -> Outcome:
        """Ask the server to refresh the item, and check again after a long pause."""
        remaining = SECOND_UPLOAD_DELAY - facts.since_sent
        pause = remaining if remaining > timedelta(0) else NOT_VISIBLE_PAUSE
        reason = _never_visible(delivery.file_name)
        if not await self._deps.playback.refresh_unless_playing(context.item.id, context.source.id):
            return Outcome.parked(pause, reason, ReasonCode.WATCHED)
        if delivery.step is not DeliveryStep.REFRESHED_AFTER_UPLOAD:
            await self._deps.deliveries.record_intent(
                replace(delivery, step=DeliveryStep.REFRESHED_AFTER_UPLOAD)
            )
        return Outcome.parked(pause, reason, ReasonCode.NOT_VISIBLE)

    async def _write_sidecar(self, context: DeliveryContext, delivery: Delivery) -> Outcome | None:
        """Write the sidecar that the server accepted and did not store; None if that is not possible."""
        deps, source = self._deps, context.source
        if (wait := await self._preconditions.no_playback(context.item, source, Stage.CONFIRM)) is not None:
            return wait
        content: bytes | None = None
        if delivery.content_hash == context.track.content_hash:
            content = context.track.content
        elif delivery.previous_ref:
            content = await deps.documents.get(delivery.previous_ref)
        if (
            content is None
            or not await deps.server.media_exists(source)
            or not await deps.server.write_sidecar(source, delivery.file_name, content)
        ):
            return None
        await deps.jobs.update_progress(context.job.id, confirm_attempts=0)
        return Outcome.waiting(
            Stage.CONFIRM,
            CONFIRM_DELAYS[0],
            "the server accepted the upload and stored nothing; the sidecar was written directly",
            ReasonCode.WRITTEN,
        )


def _never_visible(file_name: str) -> str:
    return f"{file_name} was accepted by the server but is not visible. {_CHECK_SERVER}"
