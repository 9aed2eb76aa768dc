"""Reading tracks that do not say themselves what they are: their language, whether they are ours, whether they fit the sound."""

import asyncio
import hashlib
import logging
from dataclasses import replace

from fluxcaption.domain.cues import Span, SubtitleText
from fluxcaption.domain.errors import JobError, MediaUnreadable, SubtitleUnreadable
from fluxcaption.domain.fitting import Stretch, misfit, stretches
from fluxcaption.domain.gaps import DeliveryState, Memory
from fluxcaption.domain.language import LanguageTag, satisfies
from fluxcaption.domain.media import Item, MediaLocation, MediaSource, SubtitleTrack
from fluxcaption.domain.sources import is_ours, spoken_track
from fluxcaption.domain.units import ContentHash, Ms
from fluxcaption.ports import MediaReader, MediaServer, Store, SubtitleCodec, TextLanguage, TrackFact, VoiceDetector

log = logging.getLogger(__name__)

LONGEST = 1.05
"""A text that ends later than this share of the film is another film's."""

MOST_REMOTE_BYTES = 4 * 2**30
"""A larger film is not fetched over the network just to look at a text."""

NEAR = (
    frozenset({"no", "nb", "nn", "da"}),
    frozenset({"hr", "sr", "bs", "sh"}),
    frozenset({"id", "ms"}),
    frozenset({"cs", "sk"}),
    frozenset({"gl", "pt", "es"}),
)
"""Written languages that a program takes for one another."""

DELIVERED = frozenset({DeliveryState.CONFIRMED, DeliveryState.MISSING, DeliveryState.UPLOADED})


def hash_of_cues(text: SubtitleText) -> ContentHash:
    """Names what is said and when; the same however a server spells the file."""
    told = [(cue.start, cue.end, cue.lines) for cue in text.cues]
    return ContentHash(hashlib.sha256(repr(told).encode()).hexdigest())


class TrackReading:
    """Reads a track once for each state of its item, and remembers what it told."""

    def __init__(self, server: MediaServer, store: Store, media: MediaReader, codec: SubtitleCodec, languages: TextLanguage, voices: VoiceDetector) -> None:
        self._server = server
        self._store = store
        self._media = media
        self._codec = codec
        self._languages = languages
        self._voices = voices

    async def text_of(self, source: MediaSource, track: SubtitleTrack, location: MediaLocation) -> SubtitleText:
        """The words of one text track, wherever it lies.

        Raises:
            SubtitleUnreadable: There is no text in it.
        """
        if not track.is_external:
            if location.is_remote and not any(other.is_external for other in source.subtitles) and (text := await self._extracted(source, track)) is not None:
                return text
            return await asyncio.to_thread(self._media.text_track, location, track.ordinal or 0)
        content = await self._server.read_text_track(source, track)
        return await asyncio.to_thread(self._codec.read, track.file_name, content)

    async def _extracted(self, source: MediaSource, track: SubtitleTrack) -> SubtitleText | None:
        """An embedded track as the server cuts it out, which spares the network the whole film; None where that cannot be trusted.

        The server keeps what it cut out by an index that moves with every file beside the film, and then answers with another track's text
        (contract 5.3): so only while no file lies there, and only what fits the film's length and the track's own language.
        """
        try:
            content = await self._server.read_text_track(source, track)
            text = await asyncio.to_thread(self._codec.read, f"track.{'ass' if track.codec in {'ass', 'ssa'} else 'srt'}", content)
        except SubtitleUnreadable:
            return None
        if not text.cues or (source.duration_ms and text.cues[-1].end > source.duration_ms * LONGEST):
            return None
        told = await asyncio.to_thread(self._languages.tell, " ".join(line for cue in text.cues for line in cue.lines))
        if told is not None and track.language is not None and told.language != track.language.language:
            return None
        return text

    async def tell_languages(self, item: Item, source: MediaSource, location: MediaLocation) -> None:
        """Read every text track that says no language and could serve, and remember what it is in."""
        for track in source.subtitles:
            if not track.could_serve or track.language is not None:
                continue
            try:
                text = await self.text_of(source, track, location)
            except SubtitleUnreadable as error:
                log.info("a track that says no language cannot be read", extra={"cause": str(error)})
                fact = TrackFact(track.key, item.etag, media=source.revision)
            else:
                language = await asyncio.to_thread(self._languages.tell, " ".join(line for cue in text.cues for line in cue.lines))
                cues_hash = hash_of_cues(text) if track.is_external else ContentHash("")
                fact = TrackFact(track.key, item.etag, language, cues_hash, media=source.revision)
            await self._store.save_track_fact(item.server_id, source.id, fact)

    async def fits(self, item: Item, source: MediaSource, track: SubtitleTrack, location: MediaLocation) -> bool:
        """Lay an external text beside the sound once: one that is unreadable, of another film, cut or language is no source."""
        facts = {fact.track: fact for fact in await self._store.track_facts(item.server_id, source.id)}
        known = facts.get(track.key)
        if known is not None and known.is_compared and (known.revision, known.media) == (item.etag, source.revision):
            return not known.misfit
        try:
            text = await self.text_of(source, track, location)
        except SubtitleUnreadable as error:
            await self.refuse(item, source, track, str(error))
            return False
        reason = await self._misfit(item, source, track, text, location)
        if reason:
            log.info("a text file is no source: %s", reason, extra={"file": track.file_name})
        language = known.language if known else None
        misfit_reason = f"{track.file_name}: {reason}" if reason else ""
        fact = TrackFact(track.key, item.etag, language, hash_of_cues(text), misfit_reason, is_compared=True, media=source.revision)
        await self._store.save_track_fact(item.server_id, source.id, fact)
        return not reason

    async def refuse(self, item: Item, source: MediaSource, track: SubtitleTrack, reason: str) -> None:
        """Remember that a track is no source as long as neither the item nor the media changes."""
        log.info("a text track is no source: %s", reason)
        fact = TrackFact(track.key, item.etag, track.language, ContentHash(""), reason, is_compared=True, media=source.revision)
        await self._store.save_track_fact(item.server_id, source.id, fact)

    async def _misfit(self, item: Item, source: MediaSource, track: SubtitleTrack, text: SubtitleText, location: MediaLocation) -> str:
        told = await asyncio.to_thread(self._languages.tell, " ".join(line for cue in text.cues for line in cue.lines))
        if told is not None and track.language is not None and told.language != track.language.language and not _are_near(told, track.language):
            return f"it is in {told}, not in {track.language}"
        spoken = spoken_track(item, source)
        if spoken is None or not source.duration_ms or (location.is_remote and source.size_bytes > MOST_REMOTE_BYTES):
            return misfit(text.cues, [], source.duration_ms)
        try:
            heard = await asyncio.to_thread(self._map_of_speech, location, spoken.ordinal, source.duration_ms)
        except MediaUnreadable as error:
            log.info("the sound cannot be laid beside a text: %s", error)
            heard = []
        return misfit(text.cues, heard, source.duration_ms)

    def _map_of_speech(self, location: MediaLocation, ordinal: int, duration_ms: Ms) -> list[Stretch]:
        found = []
        for start, stop in stretches(duration_ms):
            speech: list[Span] = []
            for block_start, samples in self._media.blocks(location, ordinal, start, stop):
                speech += [Span(Ms(block_start + span.start), Ms(block_start + span.end)) for span in self._voices.speech(samples)]
            found.append(Stretch(start, stop, tuple(speech)))
        return found

    async def find_ours(self, item: Item, source: MediaSource, memory: Memory, marker: str) -> bool:
        """Read what could be a track of ours under another name: only files in a language we delivered that nothing explains; returns whether any was read."""
        delivered = [target for target, standing in memory.standings.items() if standing.delivery in DELIVERED]
        if not delivered:
            return False
        known = {fact.track: fact for fact in await self._store.track_facts(item.server_id, source.id)}
        was_read = False
        for track in source.subtitles:
            if not track.is_external or not track.could_serve or is_ours(track, marker):
                continue
            if track.language is not None and not any(satisfies(track.language, target) for target in delivered):
                continue
            if (fact := known.get(track.key)) is not None and fact.revision == item.etag:
                continue
            try:
                content = await self._server.read_text_track(source, track)
                cues_hash = hash_of_cues(await asyncio.to_thread(self._codec.read, track.file_name, content))
            except JobError as error:
                log.info("a track that nothing explains cannot be read", extra={"cause": str(error)})
                continue
            # What was told of the same words still holds; of others nothing is known yet.
            told = fact if fact is not None and fact.cues_hash == cues_hash else TrackFact(track.key, item.etag, track.language)
            await self._store.save_track_fact(item.server_id, source.id, replace(told, revision=item.etag, cues_hash=cues_hash))
            was_read = True
        return was_read


def _are_near(one: LanguageTag, other: LanguageTag) -> bool:
    return any({one.language, other.language} <= group for group in NEAR)
