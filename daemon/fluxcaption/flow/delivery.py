"""Putting a finished track where viewers find it, once, and making sure it is there."""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from fluxcaption.domain.errors import ItemGone, JobError, NameTooLong, ReplyUnusable, ServerRefusesUploads, ServiceUnreachable, SubtitleUnreadable
from fluxcaption.domain.gaps import DeliveryState, Memory, serving_tracks
from fluxcaption.domain.jobs import EVERY_SETTING, Delivery, Job, JobState, Outcome, Stage, Tier
from fluxcaption.domain.language import satisfies
from fluxcaption.domain.media import FinishedTrack, Item, MediaSource, SubtitleTrack
from fluxcaption.domain.rules import wishes_for
from fluxcaption.domain.sources import is_ours
from fluxcaption.domain.units import ContentHash, Fingerprint, ItemId, ServerId
from fluxcaption.flow.finding import find_source
from fluxcaption.flow.planning import Planner
from fluxcaption.flow.reading import hash_of_cues
from fluxcaption.flow.watching import Watcher
from fluxcaption.ports import Clock, MediaServer, Store, SubtitleCodec

log = logging.getLogger(__name__)

LOOKS = tuple(timedelta(seconds=seconds) for seconds in (2, 5, 10, 30, 60, 300, 900))
"""When a track that is not visible yet is looked for again (server contract 7.5: usually within a second, later on slow disks)."""

REFRESH_AT_LOOK = 5
"""After this look the server is asked once, in the lightest way, to look at the item again."""

NOT_VISIBLE_PAUSE = timedelta(hours=1)

SECOND_UPLOAD_AFTER = timedelta(minutes=30)
"""And only after a finished library scan and a refresh: a second upload lies beside the first one as `.0` (fault matrix, row 9)."""

MOST_NAME_BYTES = 255
MOST_UPLOADS = 5
"""Then a person has to look: what cannot be seen would pile up."""
TOGETHER_WITHIN = timedelta(minutes=30)
TOGETHER_AT_MOST = timedelta(hours=2)
"""Tracks of one film wait for each other this long: each delivery renumbers the film's tracks (contract 4.6)."""

MEDIA_AWAY_PAUSE = timedelta(minutes=10)


class Deliverer:
    """Runs the stages `upload` and `confirm`, and takes back what we delivered."""

    def __init__(self, server: MediaServer, store: Store, codec: SubtitleCodec, planner: Planner, watcher: Watcher, clock: Clock, version: str) -> None:
        self._server = server
        self._store = store
        self._codec = codec
        self._planner = planner
        self._watcher = watcher
        self._clock = clock
        self._version = version

    # -- upload -----------------------------------------------------------------------------------------------------

    async def upload(self, job: Job) -> Outcome:
        """Put a finished track on the server; `confirm` finds out whether it is there."""
        item, source = await find_source(self._server, job)
        memory = (await self._store.recall([item], self._planner.settings_hash)).get(source.id, Memory())
        if job.track_ref is None:
            return await self._retire(job, item, source, memory)
        content = await self._store.document(job.track_ref)
        if content is None:
            return Outcome.next(Stage.LISTEN, "the finished track is not kept any more")
        if (wait := await self._wait_for_others(job)) is not None:
            return wait
        track = self._finished(job, content)
        if len(track.file_name(source.stem).encode()) > MOST_NAME_BYTES:
            raise NameTooLong(track.file_name(source.stem))
        theirs, _ = self._serving(item, source, job, memory)
        if theirs and not job.asked.redo:
            return Outcome.done(f"superseded: {theirs[0].file_name or 'an embedded track'} serves {job.target} meanwhile")
        known = await self._store.delivery(item.server_id, source.id, job.target)
        own = self._own(source, track, memory, known)
        for ours in own:
            seen = await self._bytes_of(source, ours)
            if self._is_same(ours, seen, track):
                return Outcome.next(Stage.CONFIRM)
            if known is None or not self._is_delivered(known, ours, seen):
                return Outcome.done(f"{ours.file_name} was edited by somebody: it is left as it is")
        if not own and known is not None and known.content_hash == track.content_hash and known.state in {DeliveryState.INTENDED, DeliveryState.UPLOADED}:
            return Outcome.next(Stage.CONFIRM, "it was sent before, and perhaps arrived")
        if (wait := await self._wait_for_viewers(item, source, job)) is not None:
            return wait
        if not await self._server.is_there(source):
            return Outcome.parked(MEDIA_AWAY_PAUSE, f"{source.stem} itself cannot be seen now: is its disk mounted?", "media-away")
        return await self._put(job, item, source, track, own, known)

    async def _put(self, job: Job, item: Item, source: MediaSource, track: FinishedTrack, own: Sequence[SubtitleTrack], known: Delivery | None) -> Outcome:
        """Replace what is ours, and send; the old bytes are kept until the new track is confirmed."""
        intent = self._intent(item, source, job, track, known)
        before: bytes | None = None
        if own and not self._server.overwrites:
            before = await self._bytes_of(source, own[0])
            intent = replace(intent, previous_ref=await self._store.put_document(before))
        await self._store.record_intent(intent)
        if not self._server.overwrites:
            for ours in own:
                await self._server.delete(item.id, source, ours)
            if own:
                source = (await self._server.fetch_item(item.id)).source(source.id) or source
        try:
            await self._server.upload(source, track)
        except ServiceUnreachable as error:
            if error.was_sent:
                return Outcome.next(Stage.CONFIRM, "no answer came back: perhaps it arrived", wait=LOOKS[1])
            await self._unsent(job, source, known)
            raise
        except JobError as error:
            await self._unsent(job, source, known)
            if before is not None and isinstance(error, ServerRefusesUploads):
                await self._put_back(source, track, before)
            raise
        await self._store.mark_uploaded(item.server_id, source.id, job.target, self._clock.now())
        return Outcome.next(Stage.CONFIRM, wait=timedelta(0) if self._server.overwrites else LOOKS[0])

    async def _unsent(self, job: Job, source: MediaSource, known: Delivery | None) -> None:
        """The intent came to nothing for certain: what was true before is so again, and the next attempt may send."""
        if known is not None and known.state is DeliveryState.CONFIRMED:
            await self._store.record_intent(known)
            await self._store.mark_confirmed(job.server_id, source.id, job.target, known.track_path, known.made_for, self._clock.now())
        else:
            await self._store.mark_delivery(job.server_id, source.id, job.target, DeliveryState.WITHDRAWN)

    async def _put_back(self, source: MediaSource, track: FinishedTrack, before: bytes) -> None:
        try:
            await self._server.upload(source, replace(track, content=before, content_hash=_hash(before)))
        except JobError as error:
            log.warning("the earlier track could not be put back: %s", error)

    async def _wait_for_others(self, job: Job) -> Outcome | None:
        """Wait while another language of the same film is expected soon."""
        if self._server.overwrites or job.ready_at is None:
            return None
        now = self._clock.now()
        waited = now - job.ready_at
        if waited >= TOGETHER_AT_MOST:
            return None
        for other in await self._store.jobs_of_source(job.server_id, job.source_id):
            if other.id == job.id or other.stage not in {Stage.LISTEN, Stage.TRANSLATE} or other.is_held:
                continue
            is_soon = other.state is JobState.RUNNING or (
                other.state is JobState.QUEUED and other.next_try_at <= now + TOGETHER_WITHIN and waited < TOGETHER_WITHIN
            )
            if is_soon:
                wait = (TOGETHER_WITHIN if waited < TOGETHER_WITHIN else TOGETHER_AT_MOST) - waited
                return Outcome.waiting(Stage.UPLOAD, wait, f"finished; it waits for {other.target}, so that both arrive together", "together")
        return None

    async def _wait_for_viewers(self, item: Item, source: MediaSource, job: Job) -> Outcome | None:
        if self._server.overwrites:
            return None
        until = await self._watcher.quiet_until(item.id, [source.id])
        if until is None:
            return None
        return Outcome.waiting(Stage.UPLOAD, until - self._clock.now(), "finished; it is delivered when nobody watches this", "watched")

    async def _retire(self, job: Job, item: Item, source: MediaSource, memory: Memory) -> Outcome:
        """Take ours away where a human's came, unless somebody has worked on it."""
        theirs, ours = self._serving(item, source, job, memory)
        known = await self._store.delivery(item.server_id, source.id, job.target)
        if not theirs or not ours or known is None:
            return Outcome.done("nothing of ours is to be taken away any more")
        if (wait := await self._wait_for_viewers(item, source, job)) is not None:
            return wait
        for track in ours:
            if not self._is_delivered(known, track, await self._bytes_of(source, track)):
                return Outcome.done(f"{track.file_name} was edited by somebody: it is left as it is")
            await self._server.delete(item.id, source, track)
        await self._store.mark_delivery(item.server_id, source.id, job.target, DeliveryState.WITHDRAWN)
        return Outcome.done(f"ours was taken away: {theirs[0].file_name or 'an embedded track'} serves {job.target}")

    # -- confirm ----------------------------------------------------------------------------------------------------

    async def confirm(self, job: Job) -> Outcome:
        """Read the track back; not seen is looked for again at growing pauses, and sent again only by the rule for that."""
        content = await self._store.document(job.track_ref) if job.track_ref else None
        if content is None:
            return Outcome.next(Stage.LISTEN, "the finished track is not kept any more")
        item, source = await find_source(self._server, job)
        track = self._finished(job, content)
        known = await self._store.delivery(item.server_id, source.id, job.target)
        for ours in self._own(source, track, Memory(), known):
            if self._is_same(ours, await self._bytes_of(source, ours), track):
                await self._store.mark_confirmed(item.server_id, source.id, job.target, ours.path or "", source.revision, self._clock.now())
                return Outcome.done(f"{ours.file_name}, {job.reason}")
        if job.attempts == REFRESH_AT_LOOK:
            await self._watcher.refresh_quietly(item.id, source.id)
        if job.attempts < len(LOOKS):
            return Outcome.again(LOOKS[job.attempts], job.reason)
        if (again := await self._send_again(item, source, job, known)) is not None:
            return again
        sentence = f"{track.file_name(source.stem)} was accepted but is not visible: look at the server's log and its folder rights"
        return Outcome.parked(NOT_VISIBLE_PAUSE, sentence, "not-visible")

    async def _send_again(self, item: Item, source: MediaSource, job: Job, known: Delivery | None) -> Outcome | None:
        if known is None:
            return None
        sent_at = known.uploaded_at or known.intended_at
        scan = await self._server.library_scan()
        is_over = scan.started_at is not None and scan.ended_at is not None and not scan.is_running and scan.started_at > sent_at
        if not is_over or self._clock.now() - sent_at < SECOND_UPLOAD_AFTER or _uploads(known) >= MOST_UPLOADS:
            await self._watcher.refresh_quietly(item.id, source.id)
            return None
        await self._store.mark_delivery(item.server_id, source.id, job.target, DeliveryState.WITHDRAWN)
        return Outcome.next(Stage.UPLOAD, "it never appeared, not even after a library scan: it is sent again")

    # -- looking after, undoing -------------------------------------------------------------------------------------

    async def look_again(self, delivered_since: datetime, server_id: ServerId) -> int:
        """After a library scan: what was delivered during it and is not listed makes the server look once more; returns how many."""
        asked = 0
        for delivery in await self._store.deliveries(server_id, states=[DeliveryState.CONFIRMED], uploaded_since=delivered_since):
            try:
                source = (await self._server.fetch_item(delivery.item_id)).source(delivery.source_id)
            except ItemGone:
                continue
            if source is not None and not any(track.path == delivery.track_path for track in source.subtitles):
                asked += await self._watcher.refresh_quietly(delivery.item_id, source.id)
        return asked

    async def undo(self, server_id: ServerId, item_id: ItemId | None, *, dry_run: bool) -> Sequence[str]:
        """Remove exactly the tracks we made, of one item or of all, and remember that somebody said no; returns a line for each."""
        lines = []
        states = [DeliveryState.CONFIRMED, DeliveryState.UPLOADED, DeliveryState.MISSING, DeliveryState.INTENDED]
        for delivery in await self._store.deliveries(server_id, item_id=item_id, states=states):
            lines.append(await self._undo_one(delivery, dry_run=dry_run))
        return lines

    async def _undo_one(self, delivery: Delivery, *, dry_run: bool) -> str:
        name = f"{delivery.title} [{delivery.target}]"
        try:
            item = await self._server.fetch_item(delivery.item_id)
        except ItemGone:
            return f"{name}: the item is gone"
        source = item.source(delivery.source_id)
        if source is None:
            return f"{name}: that version is gone"
        memory = (await self._store.recall([item], self._planner.settings_hash)).get(source.id, Memory())
        removed = []
        for track in self._own(source, None, memory, delivery):
            if not satisfies(track.language or delivery.target, delivery.target):
                continue
            if not self._is_delivered(delivery, track, await self._bytes_of(source, track)):
                return f"{name}: {track.file_name} was edited by somebody: it is left as it is"
            if not dry_run:
                if not self._server.overwrites and await self._watcher.quiet_until(item.id, [source.id]) is not None:
                    return f"{name}: somebody watches it: try again in ten minutes"
                await self._server.delete(item.id, source, track)
            removed.append(track.file_name)
        if not dry_run:
            await self._store.mark_delivery(delivery.server_id, source.id, delivery.target, DeliveryState.REFUSED)
            if delivery.fingerprint:
                sentence = "it was undone: it is not made again unless asked for"
                await self._store.settle(delivery.fingerprint, delivery.target, EVERY_SETTING, "undone", sentence, self._clock.now())
        return f"{name}: {'would remove' if dry_run else 'removed'} {', '.join(removed)}" if removed else f"{name}: nothing of ours is there"

    # -- what is ours -----------------------------------------------------------------------------------------------

    def _serving(self, item: Item, source: MediaSource, job: Job, memory: Memory) -> tuple[list[SubtitleTrack], list[SubtitleTrack]]:
        wishes = wishes_for(item, source, self._planner.household.defaults, self._planner.household.rules)
        return serving_tracks(item, memory.tracks.applied_to(source), job.target, wishes, memory.tracks)

    def _own(self, source: MediaSource, track: FinishedTrack | None, memory: Memory, known: Delivery | None) -> Sequence[SubtitleTrack]:
        """External tracks that are this delivery: by the name we give, by where it was seen, or by what is in it."""
        stem = (track.file_name(source.stem) if track else known.file_name if known else "").rsplit(".", 1)[0].lower()
        found = []
        for candidate in source.subtitles:
            if not candidate.is_external:
                continue
            is_named_so = candidate.file_name.rsplit(".", 1)[0].lower() == stem
            was_seen = known is not None and known.track_path != "" and candidate.path == known.track_path
            target = track.target if track else known.target if known else None
            is_known = is_ours(candidate, self._planner.wishes.marker, memory.tracks) and candidate.language == target
            if is_named_so or was_seen or is_known:
                found.append(candidate)
        return found

    async def _bytes_of(self, source: MediaSource, track: SubtitleTrack) -> bytes:
        try:
            return await self._server.read_text_track(source, track)
        except SubtitleUnreadable as error:
            # Listed a moment ago: it was renumbered or removed between two requests, or the server stumbled.
            raise ReplyUnusable(str(error)) from error

    def _is_same(self, ours: SubtitleTrack, seen: bytes, track: FinishedTrack) -> bool:
        return _hash(seen) == track.content_hash or self._cues_hash(ours.file_name, seen) == self._cues_hash("ours.srt", track.content)

    def _is_delivered(self, known: Delivery, ours: SubtitleTrack, seen: bytes) -> bool:
        """Whether a track still is what we delivered: a server may write the file again in its own way; the cues tell."""
        # The earlier bytes are still there when a replacement was broken off before it deleted them.
        return _hash(seen) in {known.content_hash, known.previous_ref} or (bool(known.cues_hash) and self._cues_hash(ours.file_name, seen) == known.cues_hash)

    def _cues_hash(self, name: str, content: bytes) -> ContentHash:
        try:
            return hash_of_cues(self._codec.read(name, content))
        except SubtitleUnreadable:
            return _hash(content)

    def _finished(self, job: Job, content: bytes) -> FinishedTrack:
        return FinishedTrack(job.target, self._planner.wishes.marker, "srt", content, _hash(content))

    def _intent(self, item: Item, source: MediaSource, job: Job, track: FinishedTrack, known: Delivery | None) -> Delivery:
        times = _uploads(known) + 1 if known is not None and known.content_hash == track.content_hash else 1
        provenance = {
            "program": f"FluxCaption {self._version}",
            "how": job.reason,
            "source": job.source_ref,
            "settings": self._planner.settings_hash,
            "sent": times,
        }
        return Delivery(
            server_id=item.server_id,
            source_id=source.id,
            target=job.target,
            content_hash=track.content_hash,
            file_name=track.file_name(source.stem),
            provenance=json.dumps(provenance),
            intended_at=self._clock.now(),
            item_id=item.id,
            title=item.name,
            fingerprint=job.fingerprint or Fingerprint(""),
            made_for=source.revision,
            cues_hash=self._cues_hash("ours.srt", track.content),
            grade=job.reason,
            is_asked=job.tier is Tier.ASKED,
        )


def _hash(content: bytes) -> ContentHash:
    return ContentHash(hashlib.sha256(content).hexdigest())


def _uploads(known: Delivery) -> int:
    return int(json.loads(known.provenance).get("sent", 1)) if known.provenance else 1
