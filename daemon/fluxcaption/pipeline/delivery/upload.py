"""Putting a finished track where viewers find it, once, and making sure it is there.

A delivery is written down before the server is touched, and says how far it got:

    intended, nothing sent   a track of ours that lies there is being taken away; its bytes and its facts are kept (`previous`)
    intended, sent           written down right before the bytes leave: they may have arrived
    uploaded                 the server answered; it may still have written nothing (server contract 7.3)
    confirmed                seen where it belongs; what it replaced is forgotten now
    edited                   somebody worked on it: it is theirs
    withdrawn, refused       we took it away; somebody did

Wherever the power goes, the next run goes on from the row and from what the server lists, never from what we believe we did: as long as nothing
was sent it may be sent (whether the old track is gone is read, not remembered); once it was sent only looks decide, and a second sending follows
the rule of `domain/confirm_policy.py`. What was replaced is put back, and confirmed, when the new track is refused or never appears; until one of the two is
seen its bytes are kept. Where the folder can be reached from here a track is replaced by writing over it: then there is no moment without one.

All that changes one item is done by one at a time: every file that comes or goes renumbers its tracks, and the server deletes by number.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from weakref import WeakValueDictionary

from fluxcaption.domain.confirm_policy import (
    CONFIRM_DELAYS,
    MAX_UPLOAD_ATTEMPTS,
    SECOND_UPLOAD_DELAY,
    ConfirmAction,
    ConfirmFacts,
    next_confirm_action,
    refusal_pause,
)
from fluxcaption.domain.deliveries import Delivery, DeliveryState
from fluxcaption.domain.errors import (
    DiskLow,
    ItemGone,
    JobError,
    KeyRejected,
    NameTooLong,
    ReplyUnusable,
    ServerRefusesUploads,
    ServiceUnreachable,
    WriteRefused,
)
from fluxcaption.domain.gaps import Decision, SourceHistory, serving_tracks
from fluxcaption.domain.jobs import ANY_SKIP_KEY, OPEN_STATES, Job, JobState, Outcome, Priority, Stage
from fluxcaption.domain.language import LanguageTag, satisfies
from fluxcaption.domain.media import FinishedTrack, Item, MediaSource, SubtitleTrack
from fluxcaption.domain.rules import policy_for
from fluxcaption.domain.sources import is_machine_made
from fluxcaption.domain.units import Fingerprint, ItemId, ServerId, SourceId
from fluxcaption.pipeline.delivery.own_tracks import OwnTracks, hash_of
from fluxcaption.pipeline.job_source import find_source
from fluxcaption.pipeline.planner import Planner
from fluxcaption.pipeline.playback import PlaybackMonitor
from fluxcaption.ports.clock import Clock
from fluxcaption.ports.media_server import MediaServer
from fluxcaption.ports.storage import Storage
from fluxcaption.ports.subtitles import SubtitleCodec

log = logging.getLogger(__name__)

REFRESH_AFTER_ATTEMPT = 5
"""After this look the server is asked once, in the lightest way, to look at the item again."""

NOT_VISIBLE_PAUSE = timedelta(hours=1)
MEDIA_AWAY_PAUSE = timedelta(minutes=10)
MAX_NAME_BYTES = 255
TOGETHER_WITHIN = timedelta(minutes=30)
TOGETHER_AT_MOST = timedelta(hours=2)
"""Tracks of one film wait for each other this long: each delivery renumbers the film's tracks (contract 4.6)."""

UNLISTED, NOT_VISIBLE, RESTORE = "unlisted", "not-visible", "put-back"
"""Words for why a delivery waits, by which its next run knows what was done already."""


class Deliverer:
    """Runs the stages `upload` and `confirm`, and takes back what we delivered."""

    def __init__(
        self,
        server: MediaServer,
        storage: Storage,
        codec: SubtitleCodec,
        planner: Planner,
        playback: PlaybackMonitor,
        clock: Clock,
        version: str,
    ) -> None:
        self._server = server
        self._storage = storage
        self._planner = planner
        self._playback = playback
        self._clock = clock
        self._version = version
        self._ours = OwnTracks(server, codec, planner.policy.marker)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def _alone(self, item_id: ItemId, source_id: SourceId) -> AsyncIterator[None]:
        """Nobody else here changes this item, by whichever of its ids; in order of ids, so that two never wait for each other."""
        async with AsyncExitStack() as stack:
            for key in sorted({str(item_id), str(source_id)}):
                await stack.enter_async_context(self._locks.setdefault(key, asyncio.Lock()))
            yield

    # -- upload -----------------------------------------------------------------------------------------------------

    async def upload(self, job: Job) -> Outcome:
        """Put a finished track on the server; `confirm` finds out whether it is there."""
        async with self._alone(job.item_id, job.source_id):
            return await self._cancelled_meanwhile(job) or await self._upload(job)

    async def _upload(self, job: Job) -> Outcome:
        item, source = await find_source(self._server, job)
        memory = (await self._storage.history.load([item], self._planner.skip_key)).get(
            source.id, SourceHistory()
        )
        known = await self._storage.deliveries.get(item.server_id, source.id, job.target)
        if job.track_ref is None:
            return await self._retire(job, item, source, memory, known)
        content = await self._storage.documents.get(job.track_ref)
        if content is None:
            return Outcome.next(Stage.ACQUIRE, "the finished track is not kept any more")
        if await self._was_replaced(job, source):
            return Outcome.next(
                Stage.ACQUIRE, "the media was replaced while its track was made: it is made for the new one"
            )
        if not self._ours.has_cues(content):
            return Outcome.failed("the finished track has no cue: nothing is delivered", "empty-track")
        if (no := await self._said_no(job, known)) is not None:
            return no
        if (wait := await self._wait_for_others(job)) is not None:
            return wait
        track = self._finished(job.target, content)
        if len(track.file_name(source.stem).encode()) > MAX_NAME_BYTES:
            raise NameTooLong(track.file_name(source.stem))
        if known is not None and known.is_unconfirmed:
            return Outcome.next(Stage.CONFIRM, "it was sent before, and perhaps arrived")
        theirs, _ = self._serving(item, source, job, memory)
        if theirs and not job.request.redo:
            if known is not None and known.state is DeliveryState.INTENDED:
                await self._storage.deliveries.set_state(
                    item.server_id, source.id, job.target, DeliveryState.WITHDRAWN
                )
            return Outcome.done(
                f"superseded: {theirs[0].file_name or 'an embedded track'} serves {job.target} meanwhile"
            )
        has_human = any(
            not is_machine_made(other, self._planner.policy.marker, memory.tracks) for other in theirs
        )
        intent = self._intent(item, source, job, track, is_requested=job.request.redo and has_human)
        if known is not None and known.previous_ref:
            intent = replace(intent, previous=known.previous or known, previous_ref=known.previous_ref)
        own: list[SubtitleTrack] = []
        for ours in self._ours.among(source, job.target, intent.file_name, known, memory.tracks):
            seen = await self._ours.read(item.id, source, ours)
            if self._ours.is_same(ours.file_name, seen, track):
                await self._storage.deliveries.record_intent(self._as_sent(intent, DeliveryState.UPLOADED))
                return Outcome.next(Stage.CONFIRM)
            if not self._is_torso(known, seen, track):
                if await self._ours.was_edited(item.id, source, ours, known, seen):
                    return await self._leave(job, known, ours.file_name)
                if not own and known is not None:
                    intent = await self._keeping(intent, known, seen)
            own.append(ours)
        if not await self._server.media_exists(source):
            return Outcome.parked(
                MEDIA_AWAY_PAUSE,
                f"{source.stem} itself cannot be seen now: is its disk mounted?",
                "media-away",
            )
        if (wait := await self._wait_for_viewers(item, source)) is not None:
            return wait
        if own:
            return await self._replace(job, item, source, track, intent, known, own)
        if (
            not self._server.overwrites
            and (ended := await self._look_for_unlisted(job, item, source, track, intent, known)) is not None
        ):
            return ended
        await self._storage.deliveries.record_intent(intent)
        return await self._send(job, item, source, track, intent)

    async def _keeping(self, intent: Delivery, known: Delivery, seen: bytes) -> Delivery:
        """The same with what lies there now kept, to be put back should the new track come to nothing."""
        if hash_of(seen) == known.previous_ref:
            return intent
        return replace(
            intent,
            previous=replace(known, previous=None, previous_ref=None),
            previous_ref=await self._storage.documents.put(seen),
        )

    @staticmethod
    def _is_torso(known: Delivery | None, seen: bytes, track: FinishedTrack) -> bool:
        """Whether this is the beginning of the same track, as a server without room leaves it behind; never of one that was seen whole."""
        return (
            known is not None
            and known.state is DeliveryState.INTENDED
            and known.content_hash == track.content_hash
            and track.content.startswith(seen)
        )

    async def _leave(self, job: Job, known: Delivery | None, name: str) -> Outcome:
        """Somebody worked on our track: from now on it is theirs, and that is remembered."""
        if known is not None:
            await self._storage.deliveries.set_state(
                job.server_id, job.source_id, job.target, DeliveryState.EDITED
            )
        return Outcome.done(f"{name} was edited by somebody: it is left as it is")

    async def _look_for_unlisted(
        self,
        job: Job,
        item: Item,
        source: MediaSource,
        track: FinishedTrack,
        intent: Delivery,
        known: Delivery | None,
    ) -> Outcome | None:
        """A file of ours that lies there and is not listed would make the server write a second one beside it, as `.0`."""
        if known is not None and known.is_expected and job.reason_code != UNLISTED:
            await self._server.refresh(ItemId(source.id))
            return Outcome.waiting(
                Stage.UPLOAD,
                CONFIRM_DELAYS[1],
                "our earlier track is not listed now: the server is asked to look first",
                UNLISTED,
            )
        seen = await self._lying_beside(source, intent.file_name)
        if not seen:
            return None
        if self._ours.is_same(intent.file_name, seen, track):
            await self._storage.deliveries.record_intent(self._as_sent(intent, DeliveryState.UPLOADED))
            return Outcome.next(Stage.CONFIRM)
        if not self._is_torso(known, seen, track) and not (
            known is not None and self._ours.is_delivered(known, intent.file_name, seen)
        ):
            return await self._leave(job, known, intent.file_name)
        return await self._replace(
            job, item, source, track, intent, known, [_unlisted(source, intent.file_name)]
        )

    async def _lying_beside(self, source: MediaSource, name: str) -> bytes | None:
        file = await self._server.sidecar_path(source, name)
        try:
            return None if file is None else await asyncio.to_thread(file.read_bytes)
        except OSError:
            return None

    async def _replace(
        self,
        job: Job,
        item: Item,
        source: MediaSource,
        track: FinishedTrack,
        intent: Delivery,
        known: Delivery | None,
        own: Sequence[SubtitleTrack],
    ) -> Outcome:
        """Put a better track in the place of ours: over it where its folder can be reached, else by deleting and sending."""
        await self._storage.deliveries.record_intent(intent)
        first, *others = own
        is_written = first.folder == source.folder and await self._server.write_sidecar_file(
            source, first.file_name, track.content
        )
        if is_written:
            await self._storage.deliveries.record_intent(self._as_sent(intent, DeliveryState.UPLOADED))
        try:
            for ours in others if is_written else own:
                if (wait := await self._wait_for_viewers(item, source)) is not None:
                    return wait
                await self._server.delete(item.id, source, ours)
        except WriteRefused as error:
            if not is_written and known is not None:
                await self._storage.deliveries.record_intent(known)
            return Outcome.parked(await self._count_refusal(job), str(error), error.code)
        if is_written:
            return Outcome.next(Stage.CONFIRM)
        return await self._send(job, item, source, track, intent)

    async def _send(
        self, job: Job, item: Item, source: MediaSource, track: FinishedTrack, intent: Delivery
    ) -> Outcome:
        """Send the track; that it may have left is written down before."""
        if (wait := await self._wait_for_viewers(item, source)) is not None:
            return wait
        upload_attempts = job.upload_attempts + 1
        await self._storage.jobs.update_progress(job.id, upload_attempts=upload_attempts, confirm_attempts=0)
        await self._storage.deliveries.record_intent(self._as_sent(intent, DeliveryState.INTENDED))
        try:
            await self._server.upload(source, track)
        except ServiceUnreachable as error:
            if error.was_sent:
                return Outcome.next(
                    Stage.CONFIRM, "no answer came back: perhaps it arrived", wait=CONFIRM_DELAYS[1]
                )
            await self._never_left(job, intent)
            raise
        except (ServerRefusesUploads, WriteRefused, DiskLow) as error:
            if self._server.overwrites or (isinstance(error, ServerRefusesUploads) and not error.was_sent):
                upload_attempts = job.upload_attempts
                await self._never_left(job, intent)
            else:
                await self._storage.deliveries.record_intent(intent)
            return await self._refused(item, source, track, intent, error, upload_attempts)
        except JobError:
            await self._never_left(job, intent)
            raise
        await self._storage.deliveries.mark_uploaded(item.server_id, source.id, job.target, self._clock.now())
        return Outcome.next(
            Stage.CONFIRM, wait=timedelta(0) if self._server.overwrites else CONFIRM_DELAYS[0]
        )

    async def _never_left(self, job: Job, intent: Delivery) -> None:
        await self._storage.jobs.update_progress(job.id, upload_attempts=job.upload_attempts)
        await self._storage.deliveries.record_intent(intent)

    async def _count_refusal(self, job: Job) -> timedelta:
        await self._storage.jobs.update_progress(job.id, upload_attempts=job.upload_attempts + 1)
        return refusal_pause(job.upload_attempts + 1)

    async def _refused(
        self,
        item: Item,
        source: MediaSource,
        track: FinishedTrack,
        intent: Delivery,
        error: JobError,
        upload_attempts: int,
    ) -> Outcome:
        """Certainly not taken: what it was to replace comes back, and it is tried again at growing pauses, a few times."""
        if intent.previous_ref and await self._put_back(item, source, track, intent):
            return Outcome.waiting(Stage.CONFIRM, CONFIRM_DELAYS[0], str(error), error.code)
        if (
            upload_attempts >= MAX_UPLOAD_ATTEMPTS
            and not intent.previous_ref
            and isinstance(error, ServerRefusesUploads)
        ):
            return Outcome.failed(str(error), error.code)
        return Outcome.parked(refusal_pause(upload_attempts), str(error), error.code)

    async def _put_back(self, item: Item, source: MediaSource, track: FinishedTrack, known: Delivery) -> bool:
        """Bring back what a delivery replaced, as a delivery of its own that is confirmed like any other; returns whether it was sent."""
        content = await self._storage.documents.get(known.previous_ref) if known.previous_ref else None
        if content is None or await self._wait_for_viewers(item, source) is not None:
            return False
        earlier = replace(
            known.previous or known,
            item_id=item.id,
            source_id=source.id,
            previous=None,
            previous_ref=known.previous_ref,
        )
        name = track.file_name(source.stem)
        await self._storage.deliveries.record_intent(
            self._as_sent(replace(earlier, file_name=name), DeliveryState.INTENDED)
        )
        try:
            if not await self._server.write_sidecar_file(source, name, content):
                await self._server.upload(
                    source, replace(track, content=content, content_hash=hash_of(content))
                )
        except ServiceUnreachable as error:
            if not error.was_sent:
                await self._storage.deliveries.record_intent(known)
            return error.was_sent
        except JobError as error:
            log.warning("the earlier track could not be put back yet: %s", error)
            await self._storage.deliveries.record_intent(known)
            return False
        await self._storage.deliveries.mark_uploaded(
            item.server_id, source.id, track.target, self._clock.now()
        )
        return True

    async def _wait_for_others(self, job: Job) -> Outcome | None:
        """Wait while another language of the same film is expected soon."""
        if self._server.overwrites or job.ready_at is None:
            return None
        now = self._clock.now()
        waited = now - job.ready_at
        if waited >= TOGETHER_AT_MOST:
            return None
        for other in await self._storage.jobs.of_source(job.server_id, job.source_id):
            if other.id == job.id or other.stage not in {Stage.ACQUIRE, Stage.TRANSLATE} or other.is_held:
                continue
            is_soon = other.state is JobState.RUNNING or (
                other.state is JobState.QUEUED
                and other.next_try_at <= now + TOGETHER_WITHIN
                and waited < TOGETHER_WITHIN
            )
            if is_soon:
                wait = (TOGETHER_WITHIN if waited < TOGETHER_WITHIN else TOGETHER_AT_MOST) - waited
                return Outcome.waiting(
                    Stage.UPLOAD,
                    wait,
                    f"finished; it waits for {other.target}, so that both arrive together",
                    "together",
                )
        return None

    async def _wait_for_viewers(
        self, item: Item, source: MediaSource, stage: Stage = Stage.UPLOAD
    ) -> Outcome | None:
        """Asked of the server right before each change."""
        if self._server.overwrites:
            return None
        until = await self._playback.do_not_disturb_until(item.id, [source.id])
        if until is None:
            return None
        return Outcome.waiting(
            stage, until - self._clock.now(), "finished; it is delivered when nobody watches this", "watched"
        )

    async def _retire(
        self, job: Job, item: Item, source: MediaSource, memory: SourceHistory, known: Delivery | None
    ) -> Outcome:
        """Take ours away where that is what the household wants by what is true now, unless somebody has worked on it."""
        decision = self._decision(item, source, job, memory)
        _, ours = self._serving(item, source, job, memory)
        if (
            decision is None
            or not decision.action.is_work
            or decision.action.makes_track
            or not ours
            or known is None
        ):
            return Outcome.done("nothing of ours is to be taken away any more")
        for track in ours:
            if await self._ours.was_edited(
                item.id, source, track, known, await self._ours.read(item.id, source, track)
            ):
                return await self._leave(job, known, track.file_name)
            if (wait := await self._wait_for_viewers(item, source)) is not None:
                return wait
            try:
                await self._server.delete(item.id, source, track)
            except WriteRefused as error:
                return Outcome.parked(await self._count_refusal(job), str(error), error.code)
        await self._storage.deliveries.set_state(
            item.server_id, source.id, job.target, DeliveryState.WITHDRAWN
        )
        return Outcome.done(f"ours was taken away: {decision.reason}")

    async def _cancelled_meanwhile(self, job: Job) -> Outcome | None:
        """Somebody may have cancelled or undone it while it waited for its turn at this item."""
        now = await self._storage.jobs.get(job.id)
        return (
            Outcome(JobState.CANCELLED, reason=now.reason, reason_code=now.reason_code)
            if now is not None and now.state is JobState.CANCELLED
            else None
        )

    async def _was_replaced(self, job: Job, source: MediaSource) -> bool:
        """Whether the media is another file than the one the words come from; only reading it tells, so one that seems changed counts."""
        now = await self._storage.identities.get(job.server_id, source.id, source.revision)
        return job.fingerprint is not None and (now is None or now.fingerprint != job.fingerprint)

    async def _said_no(self, job: Job, known: Delivery | None) -> Outcome | None:
        """A no holds until a person asks."""
        if job.priority is Priority.REQUESTED:
            return None
        if known is not None and known.state is DeliveryState.REFUSED:
            return Outcome.skipped(
                "our track was removed by somebody: it is not made again unless asked for", "refused"
            )
        skip = (
            await self._storage.skips.reason(job.fingerprint, job.target, self._planner.skip_key)
            if job.fingerprint
            else None
        )
        return Outcome.skipped(skip[1], skip[0]) if skip else None

    # -- confirm ----------------------------------------------------------------------------------------------------

    async def confirm(self, job: Job) -> Outcome:
        """Read the track back; not seen is looked for again at growing pauses, and more is done only by the rule for that."""
        async with self._alone(job.item_id, job.source_id):
            return await self._cancelled_meanwhile(job) or await self._confirm(job)

    async def _confirm(self, job: Job) -> Outcome:
        content = await self._storage.documents.get(job.track_ref) if job.track_ref else None
        if content is None:
            return Outcome.next(Stage.ACQUIRE, "the finished track is not kept any more")
        item, source = await find_source(self._server, job)
        known = await self._storage.deliveries.get(item.server_id, source.id, job.target)
        if (no := await self._said_no(job, known)) is not None:
            return no
        if known is None or not (
            known.is_unconfirmed or known.state in {DeliveryState.CONFIRMED, DeliveryState.MISSING}
        ):
            return Outcome.next(Stage.UPLOAD, "nothing was sent")
        track = self._finished(job.target, content)
        others: list[tuple[SubtitleTrack, bytes]] = []
        found: SubtitleTrack | None = None
        for ours in self._ours.among(source, job.target, known.file_name, known):
            try:
                seen = await self._ours.read(item.id, source, ours)
            except ReplyUnusable as error:
                log.info("a track that was sent cannot be read back at this look: %s", error)
                continue
            if found is None and self._ours.is_what_was_sent(known, ours.file_name, seen):
                found = ours
            else:
                others.append((ours, seen))
        if found is not None:
            return await self._arrived(job, known, found)
        return await self._not_seen(job, item, source, track, known, others)

    async def _arrived(self, job: Job, known: Delivery, ours: SubtitleTrack) -> Outcome:
        await self._storage.deliveries.mark_confirmed(
            job.server_id, job.source_id, job.target, ours.path or "", known.media_revision, self._clock.now()
        )
        if known.content_hash == job.track_ref:
            return Outcome.done(", ".join(filter(None, (ours.file_name, job.provenance.description))))
        # What is there is an earlier track, sent by an earlier job or put back by this one.
        if not job.upload_attempts:
            return Outcome.next(Stage.UPLOAD)
        if job.reason_code in {RESTORE, NOT_VISIBLE} or job.upload_attempts >= MAX_UPLOAD_ATTEMPTS:
            return Outcome.failed(f"{job.reason}; the earlier track is there again", NOT_VISIBLE)
        return Outcome.waiting(Stage.UPLOAD, refusal_pause(job.upload_attempts), job.reason, job.reason_code)

    async def _not_seen(
        self,
        job: Job,
        item: Item,
        source: MediaSource,
        track: FinishedTrack,
        known: Delivery,
        others: Sequence[tuple[SubtitleTrack, bytes]],
    ) -> Outcome:
        confirm_attempts = job.confirm_attempts + 1
        await self._storage.jobs.update_progress(job.id, confirm_attempts=confirm_attempts)
        if confirm_attempts == REFRESH_AFTER_ATTEMPT:
            await self._playback.refresh_unless_playing(item.id, source.id)
        if confirm_attempts < len(CONFIRM_DELAYS):
            return Outcome.waiting(
                Stage.CONFIRM, CONFIRM_DELAYS[confirm_attempts], job.reason, job.reason_code
            )
        for ours, seen in others:
            return await self._something_else_is_there(job, known, ours, seen)
        sent_at = known.sent_at or known.intended_at
        scan = await self._server.library_scan()
        lying = await self._lying_beside(source, known.file_name)
        can_write = await self._server.sidecar_path(source, known.file_name) is not None
        facts = ConfirmFacts(
            confirm_attempts=confirm_attempts,
            upload_attempts=job.upload_attempts,
            since_sent=self._clock.now() - sent_at,
            was_refreshed=job.reason_code == NOT_VISIBLE,
            scan_is_running=scan.is_running,
            was_scanned=scan.started_at is not None
            and scan.ended_at is not None
            and not scan.is_running
            and scan.started_at > sent_at,
            file_is_there=bool(lying) if can_write else None,
            replaced_another=known.previous is not None,
        )
        step = next_confirm_action(facts)
        if step is ConfirmAction.WRITE:
            if (file_suffix := await self._write_ourselves(job, item, source, track, known)) is not None:
                return file_suffix
            step = next_confirm_action(replace(facts, file_is_there=None))
        if (
            step in {ConfirmAction.RESTORE, ConfirmAction.UPLOAD_AGAIN}
            and (wait := await self._wait_for_viewers(item, source, Stage.CONFIRM)) is not None
        ):
            return replace(wait, reason_code=NOT_VISIBLE)
        sentence = f"{known.file_name} was accepted but is not visible: look at the server's log and its folder rights"
        is_put_back = known.content_hash != track.content_hash and known.previous_ref is not None
        if step is ConfirmAction.RESTORE or (step is ConfirmAction.UPLOAD_AGAIN and is_put_back):
            if await self._put_back(item, source, track, known):
                await self._storage.jobs.update_progress(
                    job.id, confirm_attempts=0, upload_attempts=job.upload_attempts + 1
                )
                return Outcome.waiting(Stage.CONFIRM, CONFIRM_DELAYS[0], sentence, RESTORE)
        elif step is ConfirmAction.UPLOAD_AGAIN:
            await self._storage.deliveries.record_intent(
                replace(known, sent_at=None, uploaded_at=None, state=DeliveryState.INTENDED)
            )
            return Outcome.next(
                Stage.UPLOAD, "it never appeared, not even after a library scan: it is sent again"
            )
        is_asked_to_look = await self._playback.refresh_unless_playing(item.id, source.id)
        pause = (
            SECOND_UPLOAD_DELAY - facts.since_sent
            if facts.since_sent < SECOND_UPLOAD_DELAY
            else NOT_VISIBLE_PAUSE
        )
        return Outcome.parked(pause, sentence, NOT_VISIBLE if is_asked_to_look else "watched")

    async def _write_ourselves(
        self, job: Job, item: Item, source: MediaSource, track: FinishedTrack, known: Delivery
    ) -> Outcome | None:
        """Lay what never arrived beside the media; None where that cannot be."""
        if (wait := await self._wait_for_viewers(item, source, Stage.CONFIRM)) is not None:
            return wait
        is_new = known.content_hash == track.content_hash
        content = (
            track.content
            if is_new
            else await self._storage.documents.get(known.previous_ref)
            if known.previous_ref
            else None
        )
        if (
            content is None
            or not await self._server.media_exists(source)
            or not await self._server.write_sidecar_file(source, known.file_name, content)
        ):
            return None
        await self._storage.jobs.update_progress(job.id, confirm_attempts=0)
        return Outcome.waiting(
            Stage.CONFIRM,
            CONFIRM_DELAYS[0],
            "the server said yes and wrote nothing: the file was laid beside the media",
            "written",
        )

    async def _something_else_is_there(
        self, job: Job, known: Delivery, ours: SubtitleTrack, seen: bytes
    ) -> Outcome:
        """Under our name lies what we did not send last: what was to be replaced, or somebody's work."""
        if known.previous is not None and hash_of(seen) == known.previous_ref:
            await self._storage.deliveries.record_intent(known.previous)
            return Outcome.failed("the new track never appeared; the earlier one is still there", NOT_VISIBLE)
        return await self._leave(job, known, ours.file_name)

    # -- looking after, undoing -------------------------------------------------------------------------------------

    async def look_again(self, delivered_since: datetime, server_id: ServerId) -> int:
        """After a library scan: what was delivered during it and is not listed makes the server look once more; returns how many."""
        request = 0
        for delivery in await self._storage.deliveries.find(
            server_id, states=[DeliveryState.CONFIRMED], uploaded_since=delivered_since
        ):
            try:
                source = (await self._server.fetch_item(delivery.item_id)).source(delivery.source_id)
            except ItemGone:
                continue
            if source is not None and not any(
                track.path == delivery.track_path for track in source.subtitles
            ):
                request += await self._playback.refresh_unless_playing(delivery.item_id, source.id)
        await self._bring_back(server_id)
        return request

    async def _bring_back(self, server_id: ServerId) -> None:
        """What a job took away that then ended midway, cancelled by somebody perhaps, comes back."""
        for delivery in await self._storage.deliveries.find(
            server_id, states=[DeliveryState.INTENDED, DeliveryState.UPLOADED]
        ):
            jobs = await self._storage.jobs.of_source(server_id, delivery.source_id)
            if not delivery.previous_ref or any(
                job.target == delivery.target and job.state in OPEN_STATES for job in jobs
            ):
                continue
            try:
                async with self._alone(delivery.item_id, delivery.source_id):
                    await self._bring_one_back(delivery)
            except JobError as error:
                log.info("a track of ours that was to be replaced is not back yet: %s", error)

    async def _bring_one_back(self, known: Delivery) -> None:
        item = await self._server.fetch_item(known.item_id)
        source, own = await self._listed(known)
        if source is None:
            return
        for ours in own:
            seen = await self._ours.read(known.item_id, source, ours)
            if self._ours.is_what_was_sent(known, ours.file_name, seen):
                await self._storage.deliveries.mark_confirmed(
                    known.server_id,
                    source.id,
                    known.target,
                    ours.path or "",
                    known.media_revision,
                    self._clock.now(),
                )
            elif known.previous is not None and hash_of(seen) == known.previous_ref:
                await self._storage.deliveries.record_intent(known.previous)
        was_just_sent = known.sent_at is not None and self._clock.now() - known.sent_at < SECOND_UPLOAD_DELAY
        if (
            not own
            and known.previous is not None
            and known.previous.media_revision in {"", source.revision}
            and not was_just_sent
        ):
            await self._put_back(item, source, self._finished(known.target, b""), known)

    async def undo(self, server_id: ServerId, item_id: ItemId | None, *, dry_run: bool) -> Sequence[str]:
        """Remove exactly the tracks we made, of one item or of all, and remember that somebody said no; returns a line for each."""
        lines = []
        for delivery in await self._storage.deliveries.find(
            server_id,
            item_id=item_id,
            states=[state for state in DeliveryState if state is not DeliveryState.WITHDRAWN],
        ):
            name = f"{delivery.title} [{delivery.target}]"
            try:
                async with self._alone(delivery.item_id, delivery.source_id):
                    now = await self._storage.deliveries.get(server_id, delivery.source_id, delivery.target)
                    told = await self._undo_one(now or delivery, dry_run=dry_run)
            except ItemGone:
                told = "the item is gone"
            except KeyRejected:
                raise
            except JobError as error:
                told = str(error)
            if told:
                lines.append(f"{name}: {told}")
        return lines

    async def _undo_one(self, delivery: Delivery, *, dry_run: bool) -> str:
        source, own = await self._listed(delivery)
        if source is None:
            return "that version is gone"
        was_undone = delivery.state is DeliveryState.REFUSED
        if not own and not was_undone and not dry_run and not self._server.overwrites:
            if not await self._playback.refresh_unless_playing(delivery.item_id, source.id):
                return "somebody watches it: try again in ten minutes"
            await self._clock.sleep(CONFIRM_DELAYS[0].total_seconds())
            source, own = await self._listed(delivery)
            if source is None:
                return "that version is gone"
        seen = [(track, await self._ours.read(delivery.item_id, source, track)) for track in own]
        if not own and (lying := await self._lying_beside(source, delivery.file_name)):
            seen = [(_unlisted(source, delivery.file_name), lying)]
        if was_undone and not seen:
            return ""
        for track, content in seen:
            is_lost = track.handle == ""
            if not self._ours.is_delivered(delivery, track.file_name, content) and (
                is_lost or await self._ours.was_edited(delivery.item_id, source, track, delivery, content)
            ):
                return f"{track.file_name} was edited by somebody: it is left as it is"
        names = ", ".join(track.file_name for track, _ in seen)
        if dry_run:
            return f"would remove {names}" if names else "nothing of ours is there"
        for track, _ in seen:
            if (
                not self._server.overwrites
                and await self._playback.do_not_disturb_until(delivery.item_id, [source.id]) is not None
            ):
                return "somebody watches it: try again in ten minutes"
            await self._server.delete(delivery.item_id, source, track)
        await self._remember_the_no(delivery)
        return f"removed {names}" if names else "nothing of ours is there"

    async def _listed(self, delivery: Delivery) -> tuple[MediaSource | None, list[SubtitleTrack]]:
        item = await self._server.fetch_item(delivery.item_id)
        source = item.source(delivery.source_id)
        if source is None:
            return None, []
        memory = (await self._storage.history.load([item], self._planner.skip_key)).get(
            source.id, SourceHistory()
        )
        own = self._ours.among(source, delivery.target, delivery.file_name, delivery, memory.tracks)
        return source, [
            track for track in own if satisfies(track.language or delivery.target, delivery.target)
        ]

    async def _remember_the_no(self, delivery: Delivery) -> None:
        now = self._clock.now()
        for job in await self._storage.jobs.of_source(delivery.server_id, delivery.source_id):
            if job.target == delivery.target and job.state in OPEN_STATES:
                await self._storage.jobs.cancel(job.id, now)
        await self._storage.deliveries.set_state(
            delivery.server_id, delivery.source_id, delivery.target, DeliveryState.REFUSED
        )
        if delivery.fingerprint:
            sentence = "it was undone: it is not made again unless asked for"
            await self._storage.skips.remember(
                delivery.fingerprint, delivery.target, ANY_SKIP_KEY, "undone", sentence, now
            )

    # -- what is true ------------------------------------------------------------------------------------------------

    def _decision(self, item: Item, source: MediaSource, job: Job, memory: SourceHistory) -> Decision | None:
        decisions = self._planner.decide(item, {source.id: memory})
        return next(
            (
                decision
                for decision in decisions
                if (decision.source.id, decision.target) == (source.id, job.target)
            ),
            None,
        )

    def _serving(
        self, item: Item, source: MediaSource, job: Job, memory: SourceHistory
    ) -> tuple[list[SubtitleTrack], list[SubtitleTrack]]:
        policy = policy_for(
            item, source, self._planner.language_policy.defaults, self._planner.language_policy.rules
        )
        return serving_tracks(item, memory.tracks.applied_to(source), job.target, policy, memory.tracks)

    def _finished(self, target: LanguageTag, content: bytes) -> FinishedTrack:
        return FinishedTrack(target, self._planner.policy.marker, "srt", content, hash_of(content))

    def _as_sent(self, delivery: Delivery, state: DeliveryState) -> Delivery:
        now = self._clock.now()
        return replace(
            delivery,
            sent_at=now,
            uploaded_at=now if state is DeliveryState.UPLOADED else None,
            state=state,
            missing_since=None,
            missing_passes=0,
        )

    def _intent(
        self, item: Item, source: MediaSource, job: Job, track: FinishedTrack, *, is_requested: bool
    ) -> Delivery:
        now = self._clock.now()
        details = {
            "program": f"FluxCaption {self._version}",
            **asdict(job.provenance),
            "source": job.source_ref,
            "settings": self._planner.skip_key,
            "content": track.content_hash,
            "at": now.isoformat(),
        }
        return Delivery(
            server_id=item.server_id,
            source_id=source.id,
            target=job.target,
            content_hash=track.content_hash,
            file_name=track.file_name(source.stem),
            details=json.dumps(details, ensure_ascii=False),
            intended_at=now,
            item_id=item.id,
            title=item.name,
            fingerprint=job.fingerprint or Fingerprint(""),
            media_revision=source.revision,
            cues_hash=self._ours.cues_hash("ours.srt", track.content),
            provenance=job.provenance,
            is_requested=is_requested,
        )


def _unlisted(source: MediaSource, name: str) -> SubtitleTrack:
    """A file beside the media that its server does not list: it can be reached by its path alone."""
    return SubtitleTrack("", None, name.rsplit(".", 1)[-1], path=f"{source.folder}/{name}")
