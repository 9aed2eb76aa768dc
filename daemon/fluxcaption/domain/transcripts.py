"""Stored transcripts and the keys under which transcripts and translations are stored."""

from dataclasses import dataclass

from fluxcaption.domain.cues import Segment
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.units import Fingerprint, Ms


@dataclass(frozen=True, slots=True)
class TranscriptKey:
    """Key of the transcript of one audio track; independent of jobs, ids and paths.

    Attributes:
        fingerprint: Identity of the media file.
        ordinal: Position among the embedded audio tracks, from 0.
        recognizer: Name of the backend and model.
        model_revision: Revision of the model.
        asr_settings_key: Hash of every setting that changes the transcript.
    """

    fingerprint: Fingerprint
    ordinal: int
    recognizer: str
    model_revision: str
    asr_settings_key: str


@dataclass(frozen=True, slots=True)
class TranscribedWindow:
    """One stored window of a transcript.

    Attributes:
        start: First moment of the window, ms.
        end: Last moment of the window, ms; audio before it is not transcribed again.
    """

    start: Ms
    end: Ms
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class SavedTranscript:
    """Stored transcript, complete or partial.

    Attributes:
        language: Spoken language; None until it is detected.
        transcribed_until: End of the transcribed audio, ms.
        windows: Transcribed windows in order of time.
    """

    id: int
    language: LanguageTag | None
    is_complete: bool
    transcribed_until: Ms
    windows: tuple[TranscribedWindow, ...]


@dataclass(frozen=True, slots=True)
class TranslationKey:
    """Key of stored translations; together with the source text it identifies one translation.

    Attributes:
        backend: Name of the translation backend and model.
        model_revision: Revision of the model.
        glossary: Hash of the glossary, empty without one.
    """

    source: LanguageTag
    target: LanguageTag
    backend: str
    model_revision: str
    glossary: str = ""
