"""Putting a finished track where viewers find it, once, and making sure it is there."""

import hashlib
import json
import logging
from collections.abc import Sequence
from datetime import timedelta

from fluxcaption.domain.gaps import covering_track
from fluxcaption.domain.jobs import Delivery, Job, Outcome, Stage
from fluxcaption.domain.media import FinishedTrack, Item, MediaSource, SubtitleTrack
from fluxcaption.domain.sources import is_ours
from fluxcaption.domain.units import ContentHash
from fluxcaption.flow.finding import find_source
from fluxcaption.flow.planning import Planner
from fluxcaption.ports import Clock, MediaServer, Store, SubtitleCodec

log = logging.getLogger(__name__)

LOOKS = tuple(timedelta(seconds=seconds) for seconds in (2, 5, 10, 30, 60, 300, 900))
"""When a track that is not visible yet is looked for again (server contract 7.5: usually within a second, later on slow disks)."""

REFRESH_AT_LOOK = 5
"""After this look the server is asked once, in the lightest way, to look at the item again."""

NOT_VISIBLE_PAUSE = timedelta(hours=1)


class Deliverer:
    """Runs the stages `upload` and `confirm`."""

    def __init__(self, server: MediaServer, store: Store, codec: SubtitleCodec, planner: Planner, clock: Clock, version: str) -> None:
        self._server = server
        self._store = store
        self._codec = codec
        self._planner = planner
        self._clock = clock
        self._version = version

    async def upload(self, job: Job) -> Outcome:
        """Put a finished track on the server; `confirm` finds out whether it is there."""
        content = await self._store.document(job.track_ref) if job.track_ref else None
        if content is None:
            return Outcome.next(Stage.LISTEN, "the finished track is not kept any more")
        item, source = await find_source(self._server, job)
        track = self._finished(job, content)
        if (covering := self._foreign_cover(source, job)) is not None:
            return Outcome.done(f"superseded: {covering.file_name or 'an embedded track'} serves {job.target} meanwhile")
        for ours in self._own(source, track):
            seen = ContentHash(hashlib.sha256(await self._server.read_text_track(source, ours)).hexdigest())
            if seen == track.content_hash:
                return Outcome.next(Stage.CONFIRM)
            known = await self._store.delivery(item.server_id, source.id, job.target)
            if known is None or known.content_hash != seen:
                return Outcome.done(f"{ours.file_name} was edited by somebody: it is left as it is")
            if not self._server.overwrites:
                await self._server.delete(source, ours)
        await self._store.record_intent(self._intent(item, source, job, track))
        await self._server.upload(source, track)
        await self._store.mark_uploaded(item.server_id, source.id, job.target, self._clock.now())
        return Outcome.next(Stage.CONFIRM, wait=timedelta(0) if self._server.overwrites else LOOKS[0])

    async def confirm(self, job: Job) -> Outcome:
        """Read the track back; not seen is looked for again at growing pauses, never uploaded again."""
        content = await self._store.document(job.track_ref) if job.track_ref else None
        if content is None:
            return Outcome.next(Stage.LISTEN, "the finished track is not kept any more")
        item, source = await find_source(self._server, job)
        track = self._finished(job, content)
        for ours in self._own(source, track):
            if await self._is_same(source, ours, track):
                await self._store.mark_confirmed(item.server_id, source.id, job.target, self._clock.now())
                return Outcome.done(f"{ours.file_name}, {job.reason}")
        if job.attempts == REFRESH_AT_LOOK:
            await self._server.refresh(item.id)
        if job.attempts < len(LOOKS):
            return Outcome.again(LOOKS[job.attempts], job.reason)
        return Outcome.parked(
            NOT_VISIBLE_PAUSE, f"{track.file_name(source.stem)} was accepted but is not visible: look at the server's log and its folder rights", "not-visible"
        )

    async def _is_same(self, source: MediaSource, ours: SubtitleTrack, track: FinishedTrack) -> bool:
        seen = await self._server.read_text_track(source, ours)
        if hashlib.sha256(seen).hexdigest() == track.content_hash:
            return True
        # A server may write the file again in its own way; the cues tell.
        return self._codec.read(ours.file_name, seen).cues == self._codec.read("ours.srt", track.content).cues

    def _foreign_cover(self, source: MediaSource, job: Job) -> SubtitleTrack | None:
        wishes = self._planner.wishes
        covering = covering_track(source, job.target, wishes.strictness, wishes.marker)
        return None if covering is None or is_ours(covering, wishes.marker) else covering

    def _own(self, source: MediaSource, track: FinishedTrack) -> Sequence[SubtitleTrack]:
        stem = track.file_name(source.stem).rsplit(".", 1)[0].lower()
        return [candidate for candidate in source.subtitles if candidate.is_external and candidate.file_name.rsplit(".", 1)[0].lower() == stem]

    def _finished(self, job: Job, content: bytes) -> FinishedTrack:
        return FinishedTrack(job.target, self._planner.wishes.marker, "srt", content, ContentHash(hashlib.sha256(content).hexdigest()))

    def _intent(self, item: Item, source: MediaSource, job: Job, track: FinishedTrack) -> Delivery:
        provenance = {"program": f"FluxCaption {self._version}", "how": job.reason, "fingerprint": job.fingerprint, "source": job.source_ref}
        return Delivery(
            server_id=item.server_id,
            source_id=source.id,
            target=job.target,
            content_hash=track.content_hash,
            file_name=track.file_name(source.stem),
            provenance=json.dumps(provenance),
            intended_at=self._clock.now(),
        )
