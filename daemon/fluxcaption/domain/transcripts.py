"""Saved transcripts and translations, and the keys that find them again."""

from dataclasses import dataclass

from fluxcaption.domain.cues import Segment
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.units import Fingerprint, Ms


@dataclass(frozen=True, slots=True)
class TranscriptKey:
    """Names one sound heard in one way; nothing about jobs, ids or paths.

    Attributes:
        ordinal: Of the audio track.
        settings_hash: Of everything that changes what is heard.
    """

    fingerprint: Fingerprint
    ordinal: int
    recognizer: str
    model_revision: str
    asr_settings_key: str


@dataclass(frozen=True, slots=True)
class TranscribedWindow:
    """One window of a transcript that was heard and saved.

    Attributes:
        start: Where the window begins; sound before the end of it need not be heard again.
    """

    start: Ms
    end: Ms
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class SavedTranscript:
    """A transcript as far as it was heard.

    Attributes:
        language: Empty until it is known.
        heard_until: Everything before is heard.
    """

    id: int
    language: LanguageTag | None
    is_complete: bool
    transcribed_until: Ms
    windows: tuple[TranscribedWindow, ...]


@dataclass(frozen=True, slots=True)
class TranslationKey:
    """Names one way to translate; with the source text it finds an earlier translation."""

    source: LanguageTag
    target: LanguageTag
    backend: str
    model_revision: str
    glossary: str = ""
