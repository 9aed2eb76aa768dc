"""Command `undo`: remove exactly the tracks that we made, and remember that the user does not want them."""

from collections.abc import Sequence

from fluxcaption.domain.confirm_policy import CONFIRM_DELAYS
from fluxcaption.domain.deliveries import Delivery, DeliveryState
from fluxcaption.domain.errors import ItemGone, JobError, KeyRejected
from fluxcaption.domain.jobs import ANY_SKIP_KEY, OPEN_STATES
from fluxcaption.domain.media import MediaSource
from fluxcaption.domain.reasons import ReasonCode
from fluxcaption.domain.units import ItemId, ServerId
from fluxcaption.pipeline.delivery.context import DeliveryDeps, listed_own_tracks
from fluxcaption.pipeline.delivery.own_tracks import ReadTrack, unlisted_sidecar
from fluxcaption.pipeline.delivery.preconditions import edited_sentence

_PLAYING = "the item is or was just played: try again in ten minutes"
_NOTHING = "no FluxCaption track was found"
_VERSION_GONE = "this version of the item no longer exists"


class Undo:
    """Removes delivered tracks for a user."""

    def __init__(self, deps: DeliveryDeps) -> None:
        self._deps = deps

    async def remove_own_tracks(
        self, server_id: ServerId, item_id: ItemId | None, *, dry_run: bool
    ) -> Sequence[str]:
        """Remove our tracks of one item or of all items; a failure for one track does not stop the others.

        Args:
            server_id: Server of the items.
            item_id: The item, or one of its versions; None for all items.
            dry_run: Only report; change nothing.

        Returns:
            One line for each delivery, without those that were undone before and left nothing behind.

        Raises:
            KeyRejected: The server rejects the key.
        """
        lines = []
        for delivery in await self._deps.deliveries.find(
            server_id,
            item_id=item_id,
            states=[state for state in DeliveryState if state is not DeliveryState.WITHDRAWN],
        ):
            try:
                result = await self._undo(delivery, dry_run=dry_run)
            except ItemGone:
                result = "the item no longer exists"
            except KeyRejected:
                raise
            except JobError as error:
                result = str(error)
            if result:
                lines.append(f"{delivery.title} [{delivery.target}]: {result}")
        return lines

    async def _undo(self, delivery: Delivery, *, dry_run: bool) -> str:
        """Undo one delivery in its current state; return the result as a sentence, empty if there is none."""
        async with self._deps.locks.hold(delivery.item_id, delivery.source_id):
            current = await self._deps.deliveries.get(delivery.server_id, delivery.source_id, delivery.target)
            return await self._undo_locked(current or delivery, dry_run=dry_run)

    async def _undo_locked(self, delivery: Delivery, *, dry_run: bool) -> str:
        was_undone = delivery.state is DeliveryState.REFUSED
        found = await self._find(delivery)
        if found is None:
            return _VERSION_GONE
        source, own = found
        if not own and not was_undone and not dry_run and self._deps.server.capabilities.has_library_scan:
            if not await self._deps.playback.refresh_unless_playing(delivery.item_id, source.id):
                return _PLAYING
            await self._deps.clock.sleep(CONFIRM_DELAYS[0].total_seconds())
            if (found := await self._find(delivery)) is None:
                return _VERSION_GONE
            source, own = found
        if not own:
            own = await self._read_unlisted(delivery, source)
        if was_undone and not own:
            return ""
        for track in own:
            if await self._deps.own_tracks.was_edited(delivery.item_id, source, track, delivery):
                return edited_sentence(track.file_name)
        names = ", ".join(track.file_name for track in own)
        if dry_run:
            return f"would remove {names}" if names else _NOTHING
        return await self._remove(delivery, source, own, f"removed {names}" if names else _NOTHING)

    async def _find(self, delivery: Delivery) -> tuple[MediaSource, list[ReadTrack]] | None:
        """Return the media source with our listed tracks; None if the media source no longer exists."""
        item = await self._deps.server.fetch_item(delivery.item_id)
        source = item.source(delivery.source_id)
        if source is None:
            return None
        tracks = await listed_own_tracks(self._deps, item, source, delivery)
        return source, await self._deps.own_tracks.read_all(delivery.item_id, source, tracks)

    async def _read_unlisted(self, delivery: Delivery, source: MediaSource) -> list[ReadTrack]:
        """Return our track from a reachable folder if the server does not list it."""
        content = await self._deps.own_tracks.read_sidecar(source, delivery.file_name)
        return [ReadTrack(unlisted_sidecar(source, delivery.file_name), content)] if content else []

    async def _remove(
        self, delivery: Delivery, source: MediaSource, own: Sequence[ReadTrack], result: str
    ) -> str:
        """Delete the tracks unless a viewer plays the item, and remember the user's decision."""
        deps = self._deps
        for found in own:
            if (
                deps.server.capabilities.reports_playback
                and await deps.playback.do_not_disturb_until(delivery.item_id, [source.id]) is not None
            ):
                return _PLAYING
            await deps.server.delete(delivery.item_id, source, found.track)
        await self._remember(delivery)
        return result

    async def _remember(self, delivery: Delivery) -> None:
        """Cancel open jobs of the target, and skip the target until a user requests it."""
        deps, now = self._deps, self._deps.clock.now()
        for job in await deps.jobs.of_source(delivery.server_id, delivery.source_id):
            if job.target == delivery.target and job.state in OPEN_STATES:
                await deps.jobs.cancel(job.id, now)
        await deps.deliveries.set_state(
            delivery.server_id, delivery.source_id, delivery.target, DeliveryState.REFUSED
        )
        if delivery.fingerprint:
            await deps.skips.remember(
                delivery.fingerprint,
                delivery.target,
                ANY_SKIP_KEY,
                ReasonCode.UNDONE,
                "a user ran undo; the FluxCaption track is made again only on request",
                now,
            )
