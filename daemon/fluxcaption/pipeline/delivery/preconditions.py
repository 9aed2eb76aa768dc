"""Checks that more than one stage makes before it changes anything on the server."""

from fluxcaption.domain.deliveries import Delivery, DeliveryState
from fluxcaption.domain.gaps import REMOVED
from fluxcaption.domain.jobs import Job, JobState, Outcome, Priority, Stage
from fluxcaption.domain.media import Item, MediaSource
from fluxcaption.domain.reasons import ReasonCode
from fluxcaption.pipeline.delivery.context import DeliveryDeps


class Preconditions:
    """Checks shared by the delivery stages.

    Each check returns the outcome that ends the run, or None if the run continues.
    """

    def __init__(self, deps: DeliveryDeps) -> None:
        self._deps = deps

    async def not_cancelled(self, job: Job) -> Outcome | None:
        """Stop if the job was cancelled or undone while it waited for the lock of its item."""
        current = await self._deps.jobs.get(job.id)
        if current is None or current.state is not JobState.CANCELLED:
            return None
        return Outcome(JobState.CANCELLED, reason=current.reason, reason_code=current.reason_code)

    async def not_refused(self, job: Job, last_delivery: Delivery | None) -> Outcome | None:
        """Skip the track if a user removed it earlier; only a request by a user lifts that decision."""
        if job.priority is Priority.REQUESTED:
            return None
        if last_delivery is not None and last_delivery.state is DeliveryState.REFUSED:
            return Outcome.skipped(REMOVED, ReasonCode.REFUSED)
        if not job.fingerprint:
            return None
        skip = await self._deps.skips.reason(job.fingerprint, job.target, self._deps.planner.skip_key)
        if skip is None:
            return None
        code, reason = skip
        return Outcome.skipped(reason, code)

    async def no_playback(
        self, item: Item, source: MediaSource, stage: Stage = Stage.UPLOAD
    ) -> Outcome | None:
        """Wait while viewers play the item or did so lately; called right before each change of its files.

        `stage` is the stage that runs again after the wait.
        """
        if not self._deps.server.capabilities.reports_playback:
            return None
        until = await self._deps.playback.do_not_disturb_until(item.id, [source.id])
        if until is None:
            return None
        return Outcome.waiting(
            stage,
            until - self._deps.clock.now(),
            "finished; the item is or was just played. It is delivered ten minutes after the end of playback",
            ReasonCode.WATCHED,
        )

    async def keep_edited_track(self, job: Job, last_delivery: Delivery | None, file_name: str) -> Outcome:
        """Store that a user edited our track, and end the job without a change."""
        if last_delivery is not None:
            await self._deps.deliveries.set_state(
                job.server_id, job.source_id, job.target, DeliveryState.EDITED
            )
        return Outcome.done(edited_sentence(file_name))


def edited_sentence(file_name: str) -> str:
    """Return the sentence for a track that a user edited."""
    return f"{file_name} was edited by a user and is left as it is"
