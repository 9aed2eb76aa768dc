"""Source reader: finds out what the server does not list about a text track.

It detects the language, recognizes FluxCaption tracks, and checks whether the text fits the audio.
The facts are stored as `TrackFact` and hold for one state (etag) of the item.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fluxcaption.domain.cues import Span, SubtitleText, hash_cues
from fluxcaption.domain.deliveries import EXISTING_STATES
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
from fluxcaption.ports.storage import TrackFact, TrackFacts
from fluxcaption.ports.subtitles import SubtitleCodec, TextLanguage

log = logging.getLogger(__name__)

MAX_REMOTE_BYTES = 4 * 2**30
"""Larger media is not streamed from the server to check the timing of a text."""

SIMILAR_LANGUAGES = (
    frozenset({"no", "nb", "nn", "da"}),
    frozenset({"hr", "sr", "bs", "sh"}),
    frozenset({"id", "ms"}),
    frozenset({"cs", "sk"}),
    frozenset({"gl", "pt", "es"}),
)
"""Written languages that language detection confuses."""


@dataclass(frozen=True, slots=True)
class _Media:
    """One media source of an item, with the location of its bytes."""

    item: Item
    source: MediaSource
    location: MediaLocation


class SourceReader:
    """Reads the text tracks of a media source once for each state of its item and stores the facts."""

    def __init__(
        self,
        server: MediaServer,
        track_facts: TrackFacts,
        media: MediaReader,
        codec: SubtitleCodec,
        text_language: TextLanguage,
        voice_detector: VoiceDetector,
    ) -> None:
        self._server = server
        self._track_facts = track_facts
        self._media = media
        self._codec = codec
        self._text_language = text_language
        self._voice_detector = voice_detector

    # -- Source text -------------------------------------------------------------------------------

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
        """Return the text of a track that is to be translated.

        An external track is compared with the audio once. A track that has no text, or clearly belongs to
        another film, cut or language, is stored as unusable, so that it is not chosen again.

        Args:
            item: The item.
            source: The media source of the item.
            track: The text track.
            location: Location of the media.
            is_requested: The user has named this track: its timing and language are not checked.
            is_last_try: Treat an error of the server as an unreadable track.

        Raises:
            SubtitleUnreadable: The track is unusable.
            ReplyUnusable: The server failed to return the track.
        """
        media = _Media(item, source, location)
        facts = {fact.track: fact for fact in await self._track_facts.facts(item.server_id, source.id)}
        stored = facts.get(track.key, TrackFact(track.key, ""))
        fact = TrackFact(track.key, item.etag, stored.language, is_compared=True, media=source.revision)
        is_compared = stored.is_compared and (stored.revision, stored.media) == (fact.revision, fact.media)
        try:
            text = await self._read(media, track, is_last_try=is_last_try)
            if not track.is_external or is_requested or is_compared:
                return text
            fact = replace(fact, cues_hash=hash_cues(text))
            if problem := await self._source_problem(media, track, text):
                raise SubtitleUnreadable(track.file_name, problem)
        except SubtitleUnreadable as error:
            log.info("a text track was rejected as source: %s", error)
            await self._save(media, replace(fact, unusable_reason=str(error)))
            raise
        await self._save(media, fact)
        return text

    async def _source_problem(self, media: _Media, track: SubtitleTrack, text: SubtitleText) -> str:
        """Return the reason why a text must not be translated for this media; empty if there is none."""
        detected = await self._detect_language(text)
        if _contradicts(detected, track) and not _are_similar(detected, track.language):
            return f"it is in {detected}, not in {track.language}"
        source = media.source
        audio = original_audio(media.item, source)
        samples: Sequence[SpeechSample] = []
        if audio is not None and source.duration_ms:
            samples = await self._speech_samples(media, audio.ordinal)
        return sync_problem(text.cues, samples, source.duration_ms)

    async def _speech_samples(self, media: _Media, ordinal: int) -> Sequence[SpeechSample]:
        """Return where speech occurs in samples of an audio track; none for large remote media.

        The samples are stored with the media revision.
        """
        item, source = media.item, media.source
        stored = await self._track_facts.speech_samples(item.server_id, source.id, source.revision, ordinal)
        if stored is not None:
            return stored
        if media.location.is_remote and source.size_bytes > MAX_REMOTE_BYTES:
            return []
        try:
            samples = await asyncio.to_thread(
                self._sample_speech, media.location, ordinal, source.duration_ms
            )
        except MediaUnreadable as error:
            log.info("the timing of a text was not checked, the audio is unreadable: %s", error)
            return []
        await self._track_facts.save_speech_samples(
            item.server_id, source.id, source.revision, ordinal, samples
        )
        return samples

    def _sample_speech(self, location: MediaLocation, ordinal: int, duration_ms: Ms) -> list[SpeechSample]:
        found = []
        for start, stop in sample_ranges(duration_ms):
            speech: list[Span] = []
            for block_start, samples in self._media.blocks(location, ordinal, start, stop):
                speech += [
                    Span(Ms(block_start + span.start), Ms(block_start + span.end))
                    for span in self._voice_detector.speech(samples)
                ]
            found.append(SpeechSample(start, stop, tuple(speech)))
        return found

    # -- Language ----------------------------------------------------------------------------------

    async def detect_languages(
        self, item: Item, source: MediaSource, location: MediaLocation, *, is_last_try: bool = False
    ) -> None:
        """Read every full text track without a language tag and store its detected language.

        Args:
            item: The item.
            source: The media source of the item.
            location: Location of the media.
            is_last_try: Treat an error of the server as an unreadable track.

        Raises:
            ReplyUnusable: The server failed to return a track.
        """
        media = _Media(item, source, location)
        for track in source.subtitles:
            if not track.has_full_dialogue or track.language is not None:
                continue
            fact = TrackFact(track.key, item.etag, media=source.revision)
            try:
                text = await self._read(media, track, is_last_try=is_last_try)
            except SubtitleUnreadable as error:
                log.info("a track without a language tag is unreadable", extra={"cause": str(error)})
            else:
                cues_hash = hash_cues(text) if track.is_external else ContentHash("")
                fact = replace(fact, language=await self._detect_language(text), cues_hash=cues_hash)
            await self._save(media, fact)

    async def _detect_language(self, text: SubtitleText) -> LanguageTag | None:
        words = " ".join(line for cue in text.cues for line in cue.lines)
        return await asyncio.to_thread(self._text_language.detect, words)

    # -- FluxCaption tracks under other names ------------------------------------------------------

    async def find_own_tracks(
        self, item: Item, source: MediaSource, history: SourceHistory, marker: str
    ) -> bool:
        """Read the external tracks that could be FluxCaption tracks under another name.

        Only tracks in a delivered language whose content is not known yet are read.

        Returns:
            True if a track was read, so that the stored facts have changed.
        """
        delivered = [target for target, entry in history.targets.items() if entry.delivery in EXISTING_STATES]
        if not delivered:
            return False
        facts = {fact.track: fact for fact in await self._track_facts.facts(item.server_id, source.id)}
        was_read = False
        for track in source.subtitles:
            stored = facts.get(track.key)
            is_current = stored is not None and stored.revision == item.etag
            if is_current or not _may_be_renamed(track, delivered, marker):
                continue
            try:
                text = await self._read_external(item, source, track)
            except JobError as error:
                log.info("a track of unknown origin is unreadable", extra={"cause": str(error)})
                continue
            fact = await self._fact_of(item, source, track, text, stored)
            await self._track_facts.save_fact(item.server_id, source.id, fact)
            was_read = True
        return was_read

    async def _fact_of(
        self,
        item: Item,
        source: MediaSource,
        track: SubtitleTrack,
        text: SubtitleText,
        stored: TrackFact | None,
    ) -> TrackFact:
        cues_hash = hash_cues(text)
        if stored is not None and stored.cues_hash == cues_hash:
            # The content is unchanged, so everything that was found out about it holds.
            return replace(stored, revision=item.etag)
        language = track.language or await self._detect_language(text)
        return TrackFact(track.key, item.etag, language, cues_hash, media=source.revision)

    # -- Reading -----------------------------------------------------------------------------------

    async def _read(self, media: _Media, track: SubtitleTrack, *, is_last_try: bool) -> SubtitleText:
        """Return the text of a track, read from the server or, if it is embedded, from the media."""
        if track.is_external or media.location.is_remote:
            try:
                if track.is_external:
                    return await self._read_external(media.item, media.source, track)
                if (text := await self._read_extracted(media, track)) is not None:
                    return text
            except ReplyUnusable as error:
                if not is_last_try:
                    raise
                raise SubtitleUnreadable(track.file_name or media.source.stem, str(error)) from error
        return await asyncio.to_thread(self._media.text_track, media.location, track.ordinal or 0)

    async def _read_external(self, item: Item, source: MediaSource, track: SubtitleTrack) -> SubtitleText:
        content = await self._server.read_text_track(item.id, source, track)
        return await asyncio.to_thread(self._codec.read, _name_for(track, content), content, track.language)

    async def _read_extracted(self, media: _Media, track: SubtitleTrack) -> SubtitleText | None:
        """Return an embedded track as the server extracts it, which avoids a download of the whole media.

        Returns:
            None if the server does not extract the track, or returns another track or an implausible text.
        """
        file_name = "track.ass" if track.codec in {"ass", "ssa"} else "track.srt"
        try:
            content = await self._server.read_text_track(media.item.id, media.source, track)
            text = await asyncio.to_thread(self._codec.read, file_name, content)
        except SubtitleUnreadable:
            return None
        max_end = media.source.duration_ms * MAX_LENGTH_RATIO
        if not text.cues or (max_end and text.cues[-1].end > max_end):
            return None
        return None if _contradicts(await self._detect_language(text), track) else text

    async def _save(self, media: _Media, fact: TrackFact) -> None:
        await self._track_facts.save_fact(media.item.server_id, media.source.id, fact)


def _may_be_renamed(track: SubtitleTrack, delivered: Sequence[LanguageTag], marker: str) -> bool:
    """Return True for an external track without our marker, untagged or in a delivered language."""
    if not track.is_external or not track.has_full_dialogue or is_ours(track, marker):
        return False
    return track.language is None or any(satisfies(track.language, target) for target in delivered)


def _contradicts(detected: LanguageTag | None, track: SubtitleTrack) -> bool:
    """Return True if the detected language is not the one of the track's tag."""
    return (
        detected is not None and track.language is not None and detected.language != track.language.language
    )


def _are_similar(detected: LanguageTag | None, tagged: LanguageTag | None) -> bool:
    if detected is None or tagged is None:
        return False
    return any({detected.language, tagged.language} <= group for group in SIMILAR_LANGUAGES)


def _name_for(track: SubtitleTrack, content: bytes) -> str:
    """Return a file name with the real format; servers convert some (notes/jellyfin-server.md J24)."""
    is_subrip = b" --> " in content[:1000] and b"WEBVTT" not in content[:20]
    return f"{track.file_name}.srt" if is_subrip else track.file_name
