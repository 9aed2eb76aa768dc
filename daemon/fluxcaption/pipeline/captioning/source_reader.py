"""Reading tracks that do not say themselves what they are: their language, whether they are ours, whether they fit the sound."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace

from fluxcaption.domain.cues import Span, SubtitleText, hash_cues
from fluxcaption.domain.deliveries import DeliveryState
from fluxcaption.domain.errors import JobError, MediaUnreadable, ReplyUnusable, SubtitleUnreadable
from fluxcaption.domain.gaps import SourceHistory
from fluxcaption.domain.language import LanguageTag, satisfies
from fluxcaption.domain.media import Item, MediaSource, SubtitleTrack
from fluxcaption.domain.sources import is_ours, original_audio
from fluxcaption.domain.sync_check import MAX_LENGTH_RATIO, SpeechSample, sample_ranges, sync_problem
from fluxcaption.domain.units import ContentHash, Ms
from fluxcaption.ports.media import MediaLocation, MediaReader
from fluxcaption.ports.media_server import MediaServer
from fluxcaption.ports.speech import VoiceDetector
from fluxcaption.ports.storage import Storage, TrackFact
from fluxcaption.ports.subtitles import SubtitleCodec, TextLanguage

log = logging.getLogger(__name__)

MAX_REMOTE_BYTES = 4 * 2**30
"""A larger film is not fetched over the network just to look at a text."""

NEAR = (
    frozenset({"no", "nb", "nn", "da"}),
    frozenset({"hr", "sr", "bs", "sh"}),
    frozenset({"id", "ms"}),
    frozenset({"cs", "sk"}),
    frozenset({"gl", "pt", "es"}),
)
"""Written languages that a program takes for one another."""

DELIVERED = frozenset(
    {DeliveryState.CONFIRMED, DeliveryState.MISSING, DeliveryState.UPLOADED, DeliveryState.EDITED}
)


class SourceReader:
    """Reads a track once for each state of its item, and remembers what it told."""

    def __init__(
        self,
        server: MediaServer,
        storage: Storage,
        media: MediaReader,
        codec: SubtitleCodec,
        languages: TextLanguage,
        voices: VoiceDetector,
    ) -> None:
        self._server = server
        self._storage = storage
        self._media = media
        self._codec = codec
        self._languages = languages
        self._voices = voices

    async def source_text(
        self,
        item: Item,
        source: MediaSource,
        track: SubtitleTrack,
        location: MediaLocation,
        *,
        is_requested: bool = False,
        is_last_try: bool = False,
    ) -> SubtitleText:
        """The words of a track that is to be translated; an external one is laid beside the sound once.

        Args:
            item: What it belongs to.
            source: Its version.
            track: The text track.
            location: Where the media lies.
            is_requested: A person named this very track: whether it fits is theirs to say.
            is_last_try: A server that stumbles is not waited for any more.

        Raises:
            SubtitleUnreadable: It has no text, or is clearly another film's, cut's or language's; that is remembered, so that it is chosen no more.
            ReplyUnusable: The server stumbled.
        """
        facts = {fact.track: fact for fact in await self._storage.tracks.facts(item.server_id, source.id)}
        known = facts.get(track.key, TrackFact(track.key, ""))
        fact = TrackFact(track.key, item.etag, known.language, is_compared=True, media=source.revision)
        try:
            text = await self._text_of(item, source, track, location, is_last_try=is_last_try)
            if (
                not track.is_external
                or is_requested
                or (known.is_compared and (known.revision, known.media) == (fact.revision, fact.media))
            ):
                return text
            fact = replace(fact, cues_hash=hash_cues(text))
            if reason := await self._source_problem(item, source, track, text, location):
                raise SubtitleUnreadable(track.file_name, reason)
        except SubtitleUnreadable as error:
            log.info("a text track is no source: %s", error)
            await self._storage.tracks.save_fact(
                item.server_id, source.id, replace(fact, unusable_reason=str(error))
            )
            raise
        await self._storage.tracks.save_fact(item.server_id, source.id, fact)
        return text

    async def _text_of(
        self,
        item: Item,
        source: MediaSource,
        track: SubtitleTrack,
        location: MediaLocation,
        *,
        is_last_try: bool,
    ) -> SubtitleText:
        """The words of one text track, wherever it lies."""
        if not track.is_external and not location.is_remote:
            return await asyncio.to_thread(self._media.text_track, location, track.ordinal or 0)
        try:
            if track.is_external:
                content = await self._server.read_text_track(item.id, source, track)
                return await asyncio.to_thread(
                    self._codec.read, _name_for(track, content), content, track.language
                )
            if (text := await self._extracted(item, source, track)) is not None:
                return text
        except ReplyUnusable as error:
            if not is_last_try:
                raise
            raise SubtitleUnreadable(track.file_name or source.stem, str(error)) from error
        return await asyncio.to_thread(self._media.text_track, location, track.ordinal or 0)

    async def _extracted(self, item: Item, source: MediaSource, track: SubtitleTrack) -> SubtitleText | None:
        """An embedded track as the server cuts it out, which spares the network the whole film; None where it does not, or what it gives is implausible."""
        try:
            content = await self._server.read_text_track(item.id, source, track)
            text = await asyncio.to_thread(
                self._codec.read, f"track.{'ass' if track.codec in {'ass', 'ssa'} else 'srt'}", content
            )
        except SubtitleUnreadable:
            return None
        if not text.cues or (
            source.duration_ms and text.cues[-1].end > source.duration_ms * MAX_LENGTH_RATIO
        ):
            return None
        told = await self._language_of(text)
        if told is not None and track.language is not None and told.language != track.language.language:
            return None
        return text

    async def _language_of(self, text: SubtitleText) -> LanguageTag | None:
        return await asyncio.to_thread(
            self._languages.detect, " ".join(line for cue in text.cues for line in cue.lines)
        )

    async def detect_languages(
        self, item: Item, source: MediaSource, location: MediaLocation, *, is_last_try: bool = False
    ) -> None:
        """Read every text track that says no language and could serve, and remember what it is in.

        Raises:
            ReplyUnusable: The server stumbled.
        """
        for track in source.subtitles:
            if not track.has_full_dialogue or track.language is not None:
                continue
            try:
                text = await self._text_of(item, source, track, location, is_last_try=is_last_try)
            except SubtitleUnreadable as error:
                log.info("a track that says no language cannot be read", extra={"cause": str(error)})
                fact = TrackFact(track.key, item.etag, media=source.revision)
            else:
                cues_hash = hash_cues(text) if track.is_external else ContentHash("")
                fact = TrackFact(
                    track.key, item.etag, await self._language_of(text), cues_hash, media=source.revision
                )
            await self._storage.tracks.save_fact(item.server_id, source.id, fact)

    async def _source_problem(
        self,
        item: Item,
        source: MediaSource,
        track: SubtitleTrack,
        text: SubtitleText,
        location: MediaLocation,
    ) -> str:
        told = await self._language_of(text)
        if (
            told is not None
            and track.language is not None
            and told.language != track.language.language
            and not _are_near(told, track.language)
        ):
            return f"it is in {told}, not in {track.language}"
        spoken = original_audio(item, source)
        heard = (
            await self._speech_samples(item, source, spoken.ordinal, location)
            if spoken is not None and source.duration_ms
            else []
        )
        return sync_problem(text.cues, heard, source.duration_ms)

    async def _speech_samples(
        self, item: Item, source: MediaSource, ordinal: int, location: MediaLocation
    ) -> Sequence[SpeechSample]:
        """Where somebody speaks in three stretches, listened to once; nothing of a large film that is far away."""
        if (
            known := await self._storage.tracks.speech_samples(
                item.server_id, source.id, source.revision, ordinal
            )
        ) is not None:
            return known
        if location.is_remote and source.size_bytes > MAX_REMOTE_BYTES:
            return []
        try:
            heard = await asyncio.to_thread(self._sample_speech, location, ordinal, source.duration_ms)
        except MediaUnreadable as error:
            log.info("the sound cannot be laid beside a text: %s", error)
            return []
        await self._storage.tracks.save_speech_samples(
            item.server_id, source.id, source.revision, ordinal, heard
        )
        return heard

    def _sample_speech(self, location: MediaLocation, ordinal: int, duration_ms: Ms) -> list[SpeechSample]:
        found = []
        for start, stop in sample_ranges(duration_ms):
            speech: list[Span] = []
            for block_start, samples in self._media.blocks(location, ordinal, start, stop):
                speech += [
                    Span(Ms(block_start + span.start), Ms(block_start + span.end))
                    for span in self._voices.speech(samples)
                ]
            found.append(SpeechSample(start, stop, tuple(speech)))
        return found

    async def find_own_tracks(
        self, item: Item, source: MediaSource, memory: SourceHistory, marker: str
    ) -> bool:
        """Read what could be a track of ours under another name: only files in a language we delivered that nothing explains; returns whether any was read."""
        delivered = [
            target
            for target, target_history in memory.targets.items()
            if target_history.delivery in DELIVERED
        ]
        if not delivered:
            return False
        known = {fact.track: fact for fact in await self._storage.tracks.facts(item.server_id, source.id)}
        was_read = False
        for track in source.subtitles:
            if not track.is_external or not track.has_full_dialogue or is_ours(track, marker):
                continue
            if track.language is not None and not any(
                satisfies(track.language, target) for target in delivered
            ):
                continue
            if (fact := known.get(track.key)) is not None and fact.revision == item.etag:
                continue
            try:
                content = await self._server.read_text_track(item.id, source, track)
                text = await asyncio.to_thread(
                    self._codec.read, _name_for(track, content), content, track.language
                )
            except JobError as error:
                log.info("a track that nothing explains cannot be read", extra={"cause": str(error)})
                continue
            cues_hash = hash_cues(text)
            if fact is not None and fact.cues_hash == cues_hash:
                # What was told of the same words still holds.
                told = replace(fact, revision=item.etag)
            else:
                told = TrackFact(
                    track.key,
                    item.etag,
                    track.language or await self._language_of(text),
                    cues_hash,
                    media=source.revision,
                )
            await self._storage.tracks.save_fact(item.server_id, source.id, told)
            was_read = True
        return was_read


def _name_for(track: SubtitleTrack, content: bytes) -> str:
    """The file's name, as SubRip where a server has turned another format into it (contract 5.1)."""
    is_subrip = b" --> " in content[:1000] and b"WEBVTT" not in content[:20]
    return f"{track.file_name}.srt" if is_subrip else track.file_name


def _are_near(one: LanguageTag, other: LanguageTag) -> bool:
    return any({one.language, other.language} <= group for group in NEAR)
