"""Withdrawal: a job removes our track because a human-made one exists or the media was replaced."""

from fluxcaption.domain.deliveries import DeliveryState
from fluxcaption.domain.errors import WriteRefused
from fluxcaption.domain.gaps import Decision
from fluxcaption.domain.jobs import Job, Outcome
from fluxcaption.pipeline.delivery.context import DeliveryContext, DeliveryDeps, count_refusal, load_context
from fluxcaption.pipeline.delivery.own_tracks import ReadTrack
from fluxcaption.pipeline.delivery.preconditions import Preconditions


class Withdrawer:
    """Runs the stage `upload` of jobs without a finished track: they remove one."""

    def __init__(self, deps: DeliveryDeps, preconditions: Preconditions) -> None:
        self._deps = deps
        self._preconditions = preconditions

    async def withdraw(self, job: Job) -> Outcome:
        """Delete our tracks if the decision about the item still says so and no user edited them.

        The caller holds the lock of the item.
        """
        deps = self._deps
        context = await load_context(deps, job, b"")
        decision = self._current_decision(context)
        last_delivery = context.last_delivery
        if (
            decision is None
            or not decision.action.is_work
            or decision.action.makes_track
            or not context.own_tracks
            or last_delivery is None
        ):
            return Outcome.done("no FluxCaption track has to be removed any more")
        for track in context.own_tracks:
            own = ReadTrack(track, await deps.own_tracks.read(context.item.id, context.source, track))
            if await deps.own_tracks.was_edited(context.item.id, context.source, own, last_delivery):
                return await self._preconditions.keep_edited_track(job, last_delivery, own.file_name)
            if (wait := await self._preconditions.no_playback(context.item, context.source)) is not None:
                return wait
            try:
                await deps.server.delete(context.item.id, context.source, track)
            except WriteRefused as error:
                return Outcome.parked(await count_refusal(deps, job), str(error), error.code)
        await deps.deliveries.set_state(
            context.item.server_id, context.source.id, job.target, DeliveryState.WITHDRAWN
        )
        return Outcome.done(f"the FluxCaption track was removed: {decision.reason}")

    def _current_decision(self, context: DeliveryContext) -> Decision | None:
        decisions = self._deps.planner.decide(context.item, {context.source.id: context.history})
        return next(
            (
                decision
                for decision in decisions
                if decision.source.id == context.source.id and decision.target == context.job.target
            ),
            None,
        )
