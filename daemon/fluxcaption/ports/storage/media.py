"""Storage of facts about media files, transcripts, translations and documents."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.media import MediaIdentity, MediaSource
from fluxcaption.domain.sync_check import SpeechSample
from fluxcaption.domain.transcripts import SavedTranscript, TranscribedWindow, TranscriptKey, TranslationKey
from fluxcaption.domain.units import ContentHash, Fingerprint, Ms, ServerId, SourceId


@dataclass(frozen=True, slots=True)
class TrackFact:
    """Facts read from one text track.

    Attributes:
        track: Key of the track.
        revision: Etag of the item when the track was read.
        language: Language of the text; None if it was not detected.
        cues_hash: Hash of the cues; empty if they were not read.
        unusable_reason: Reason why the track cannot be a source; empty if it can.
        is_compared: True if its times were compared with the audio.
        media: Revision of the media at which the language was detected or the times were compared; else
            empty.
    """

    track: str
    revision: str
    language: LanguageTag | None = None
    cues_hash: ContentHash = ContentHash("")
    unusable_reason: str = ""
    is_compared: bool = False
    media: str = ""


class TrackFacts(Protocol):
    """Facts read from text tracks, and samples of speech in audio tracks."""

    async def facts(self, server_id: ServerId, source_id: SourceId) -> Sequence[TrackFact]:
        """Return the facts about the text tracks of a media source."""

    async def save_fact(self, server_id: ServerId, source_id: SourceId, fact: TrackFact) -> None:
        """Store the fact about a track in place of an earlier one."""

    async def speech_samples(
        self, server_id: ServerId, source_id: SourceId, revision: str, ordinal: int
    ) -> Sequence[SpeechSample] | None:
        """Return the speech samples of an audio track at this media revision, None if none were taken."""

    async def save_speech_samples(
        self,
        server_id: ServerId,
        source_id: SourceId,
        revision: str,
        ordinal: int,
        heard: Sequence[SpeechSample],
    ) -> None:
        """Store the speech samples of an audio track in place of earlier ones."""


class MediaIdentities(Protocol):
    """Fingerprints of media files."""

    async def get(self, server_id: ServerId, source_id: SourceId, revision: str) -> MediaIdentity | None:
        """Return the identity that was read at this revision of the media, None if it was not."""

    async def save(self, server_id: ServerId, source: MediaSource, identity: MediaIdentity) -> None:
        """Store the identity of a media source at its present revision and path."""


class Transcripts(Protocol):
    """Transcripts, and the sketches by which a sound is found again in another file."""

    async def get(self, key: TranscriptKey) -> SavedTranscript | None:
        """Return the transcript of a sound or its alias as far as it was saved, None if there is none."""

    async def open(self, key: TranscriptKey, duration_ms: Ms) -> SavedTranscript:
        """Return the transcript of a sound or its alias; create it if there is none."""

    async def save_window(
        self, transcript_id: int, window: TranscribedWindow, language: LanguageTag | None
    ) -> None:
        """Store one window, in place of one with the same start, and the language if it is known."""

    async def finish(self, transcript_id: int, language: LanguageTag) -> None:
        """Mark a transcript as complete."""

    async def save_sketch(
        self, fingerprint: Fingerprint, ordinal: int, duration_ms: Ms, sketch: bytes
    ) -> None:
        """Store the sketch of a sound, in place of an earlier one."""

    async def sketches(self, duration_ms: Ms, tolerance_ms: int) -> Sequence[tuple[Fingerprint, int, bytes]]:
        """Return fingerprint, audio ordinal and sketch of each sound of about this length."""

    async def alias_sound(
        self, fingerprint: Fingerprint, ordinal: int, known: Fingerprint, known_ordinal: int
    ) -> None:
        """Make one sound stand for another: its transcripts are looked up there from now on."""


class Translations(Protocol):
    """Translations by source text, language pair, model and glossary."""

    async def find(self, key: TranslationKey, texts: Collection[str]) -> Mapping[str, str]:
        """Return earlier translations by source text; texts without one are left out."""

    async def save(self, key: TranslationKey, texts: Mapping[str, str]) -> None:
        """Store translations by source text, in one transaction."""


class Documents(Protocol):
    """Documents (source cues, finished tracks, replaced tracks) by the hash of their bytes."""

    async def put(self, content: bytes) -> ContentHash:
        """Store a document. Return its reference."""

    async def get(self, ref: ContentHash) -> bytes | None:
        """Return a document, None if it is not kept any more."""
