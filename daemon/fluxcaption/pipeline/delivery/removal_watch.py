"""Removal watch: delivered tracks that are not listed any more, found by our scans and by the server's own.

A server drops good tracks by itself for a while. A track therefore counts as removed by a user only after two
complete scans a day apart, a refresh of its item, and a check that the media is readable
(`domain/removal_policy.py`).
"""

import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from fluxcaption.domain.deliveries import EXISTING_STATES, Delivery, DeliveryState
from fluxcaption.domain.errors import ItemGone, ServiceUnreachable
from fluxcaption.domain.gaps import REMOVED, Action, Decision, SourceHistory
from fluxcaption.domain.jobs import ANY_SKIP_KEY
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.media import Item
from fluxcaption.domain.reasons import ReasonCode
from fluxcaption.domain.removal_policy import (
    MissingTrackFacts,
    MissingTrackVerdict,
    classify_missing_track,
    is_missing_long_enough,
)
from fluxcaption.domain.units import ItemId, ServerId, SourceId
from fluxcaption.pipeline.delivery.context import DeliveryDeps
from fluxcaption.ports.media_server import LibraryScan

log = logging.getLogger(__name__)

REFRESH_BATCH_SIZE = 25
"""Items that are refreshed before their tracks are looked for again."""

REFRESH_TIME_S = 10.0
"""Time that the server gets to refresh a batch of items (0.3 s for one, notes/jellyfin-server.md J39)."""

MAX_REFRESHES = 2
"""Complete scans without a track, after each of which its item is refreshed; later ones only count."""


@dataclass(frozen=True, slots=True)
class MissingTrack:
    """A delivered track that a scan did not list."""

    item_id: ItemId
    source_id: SourceId
    target: LanguageTag


class RemovalWatch:
    """Follows delivered tracks during scans."""

    def __init__(self, deps: DeliveryDeps) -> None:
        self._deps = deps

    # -- during a scan ----------------------------------------------------------------------------

    async def find_missing(self, decision: Decision, history: SourceHistory) -> MissingTrack | None:
        """Return the delivered track of a decision if it does not exist any more, as far as can be seen.

        The item is refreshed, so that a track which the server has only lost is listed at the next scan.
        """
        if decision.action is not Action.MISSING or not _is_delivered(decision, history):
            return None
        item, source, target = decision.item, decision.source, decision.target
        delivery = await self._deps.deliveries.get(item.server_id, source.id, target)
        if delivery is None:
            return None
        file_exists = await self._deps.own_tracks.sidecar_exists(source, delivery.file_name)
        if file_exists or delivery.missing_scans < MAX_REFRESHES:
            await self._refresh(item.id, source.id)
        return None if file_exists else MissingTrack(item.id, source.id, target)

    async def confirm_found(self, decision: Decision, history: SourceHistory) -> bool:
        """Confirm a missing track that is listed again, or whose target is covered.

        Returns:
            True if the track was missing.
        """
        target_history = history.targets.get(decision.target)
        if (
            target_history is None
            or target_history.delivery is not DeliveryState.MISSING
            or decision.action not in {Action.COVERED, Action.YIELD_TO_HUMAN}
        ):
            return False
        await self._deps.deliveries.set_state(
            decision.item.server_id, decision.source.id, decision.target, DeliveryState.CONFIRMED
        )
        return True

    async def _refresh(self, item_id: ItemId, source_id: SourceId) -> bool:
        """Request a refresh of an item. Return False if it is played, or if the server failed."""
        try:
            return await self._deps.playback.refresh_unless_playing(item_id, source_id)
        except ServiceUnreachable as error:
            log.info("an item could not be refreshed: %s", error, extra={"item": item_id})
            return False

    # -- after a complete scan --------------------------------------------------------------------

    async def conclude(
        self, server_id: ServerId, missing: Sequence[MissingTrack], scan_before: LibraryScan
    ) -> None:
        """Count the missing tracks of a complete scan; decide about those that are missing for long enough.

        Args:
            server_id: Server that was scanned.
            missing: Tracks that the scan did not list.
            scan_before: State of the server's own scan when our scan began. If the server scanned meanwhile,
                its answers prove nothing, and nothing is counted.
        """
        if await self._server_has_scanned_since(scan_before):
            return
        await self._deps.deliveries.mark_missing(
            server_id, [(track.source_id, track.target) for track in missing], self._deps.clock.now()
        )
        for batch in _batches(missing, REFRESH_BATCH_SIZE):
            refreshed: dict[tuple[SourceId, LanguageTag], Delivery] = {}
            item_ids: set[ItemId] = set()
            for track in batch:
                delivery = await self._deps.deliveries.get(server_id, track.source_id, track.target)
                if (
                    delivery is not None
                    and is_missing_long_enough(
                        delivery.missing_since, delivery.missing_scans, self._deps.clock.now()
                    )
                    and await self._refresh(track.item_id, track.source_id)
                ):
                    refreshed[(track.source_id, track.target)] = delivery
                    item_ids.add(track.item_id)
            if refreshed:
                await self._deps.clock.sleep(REFRESH_TIME_S)
                items = await self._deps.server.fetch_items(sorted(item_ids))
                await self._classify(items, refreshed, scan_before)

    async def _server_has_scanned_since(self, before: LibraryScan) -> bool:
        """Return True if the server scans its folders now, or did so since then."""
        scan = await self._deps.server.library_scan()
        return before.is_running or scan.is_running or scan.ended_at != before.ended_at

    async def _classify(
        self,
        items: Sequence[Item],
        refreshed: Mapping[tuple[SourceId, LanguageTag], Delivery],
        scan_before: LibraryScan,
    ) -> None:
        """Decide about missing tracks after the refresh of their items."""
        deps = self._deps
        histories = await deps.history.load(items, deps.planner.skip_key)
        scan_is_running = await self._server_has_scanned_since(scan_before)
        for decision in itertools.chain.from_iterable(deps.planner.decide(item, histories) for item in items):
            delivery = refreshed.get((decision.source.id, decision.target))
            if delivery is None or decision.action is not Action.MISSING:
                continue
            try:
                media_is_there = await deps.server.media_exists(decision.source)
            except ServiceUnreachable:
                media_is_there = False
            facts = MissingTrackFacts(
                missing_since=delivery.missing_since,
                scans=delivery.missing_scans,
                scan_is_running=scan_is_running,
                media_is_there=media_is_there,
                file_is_there=await deps.own_tracks.sidecar_exists(decision.source, delivery.file_name),
            )
            if classify_missing_track(facts, deps.clock.now()) is MissingTrackVerdict.REFUSED:
                await self._remember_removal(decision, delivery)

    async def _remember_removal(self, decision: Decision, delivery: Delivery) -> None:
        """Store that a user removed the track; first by the media, so that it survives a new item id."""
        deps = self._deps
        if delivery.fingerprint:
            await deps.skips.remember(
                delivery.fingerprint,
                decision.target,
                ANY_SKIP_KEY,
                ReasonCode.REMOVED,
                REMOVED,
                deps.clock.now(),
            )
        await deps.deliveries.set_state(
            delivery.server_id, delivery.source_id, decision.target, DeliveryState.REFUSED
        )
        log.info(
            "a delivered track was removed by a user; it is made again only on request",
            extra={"title": decision.item.name, "target": str(decision.target)},
        )

    # -- after a scan of the server ---------------------------------------------------------------

    async def refresh_unlisted(self, delivered_since: datetime, server_id: ServerId) -> int:
        """Refresh the items whose tracks were delivered during a scan of the server and are not listed now.

        Returns:
            Number of items that the server was asked to refresh.
        """
        refreshed = 0
        for delivery in await self._deps.deliveries.find(
            server_id, states=[DeliveryState.CONFIRMED], uploaded_since=delivered_since
        ):
            try:
                item = await self._deps.server.fetch_item(delivery.item_id)
            except ItemGone:
                continue
            source = item.source(delivery.source_id)
            if source is None or any(track.path == delivery.track_path for track in source.subtitles):
                continue
            refreshed += await self._deps.playback.refresh_unless_playing(delivery.item_id, source.id)
        return refreshed


def _is_delivered(decision: Decision, history: SourceHistory) -> bool:
    target_history = history.targets.get(decision.target)
    return target_history is not None and target_history.delivery in EXISTING_STATES


def _batches(tracks: Sequence[MissingTrack], size: int) -> Iterator[Sequence[MissingTrack]]:
    for first in range(0, len(tracks), size):
        yield tracks[first : first + size]
