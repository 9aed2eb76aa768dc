"""The source text of a job, and its stored form, from which the job continues after a restart."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from fluxcaption.domain.cues import Cue
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.media import SubtitleTrack
from fluxcaption.domain.units import Ms


@dataclass(frozen=True, slots=True)
class SourceText:
    """The cues that a track is made from.

    Attributes:
        language: Language of the cues.
        origin: Source of the text, as a phrase for the provenance.
        recognizer: Name of the recognizer; empty for text that was read from a track.
        score: Mean confidence of the recognizer, 0 to 1; None for text that was read from a track.
    """

    language: LanguageTag
    origin: str
    cues: tuple[Cue, ...]
    recognizer: str = ""
    score: float | None = None

    @classmethod
    def from_track(cls, track: SubtitleTrack, language: LanguageTag, cues: Sequence[Cue]) -> "SourceText":
        """Return the text that was read from a text track."""
        if track.is_external:
            origin = f"{language} text file {track.file_name}"
        else:
            origin = f"embedded {language} text track {(track.ordinal or 0) + 1}"
        return cls(language, origin, tuple(cues))

    def to_bytes(self) -> bytes:
        """Return the text as JSON."""
        fields: dict[str, object] = {
            "language": str(self.language),
            "origin": self.origin,
            "recognizer": self.recognizer,
            "score": self.score,
            "cues": [[cue.start, cue.end, cue.sentence, list(cue.lines), cue.style] for cue in self.cues],
        }
        return json.dumps(fields, ensure_ascii=False).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> "SourceText":
        """Return the text of `to_bytes`, of this version or an earlier one."""
        fields = json.loads(content)
        cues = tuple(
            Cue(Ms(start), Ms(end), tuple(lines), sentence, *style)
            for start, end, sentence, lines, *style in fields["cues"]
        )
        return cls(
            LanguageTag.parse(fields["language"]),
            fields["origin"],
            cues,
            fields.get("recognizer", ""),
            fields.get("score"),
        )
