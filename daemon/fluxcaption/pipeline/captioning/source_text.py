"""Source cues as plain bytes, so that a job goes on from them after a restart."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from fluxcaption.domain.cues import Cue
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.units import Ms


@dataclass(frozen=True, slots=True)
class SourceText:
    """What a job is made from.

    Attributes:
        origin: Where the words come from, for the provenance.
        recognizer: What heard them; empty where they were read.
        score: How sure it was on average.
    """

    language: LanguageTag
    origin: str
    cues: tuple[Cue, ...]
    recognizer: str = ""
    score: float | None = None

    def to_bytes(self) -> bytes:
        """Spell it as JSON."""
        cues: Sequence[object] = [
            [cue.start, cue.end, cue.sentence, list(cue.lines), cue.style] for cue in self.cues
        ]
        told = {
            "language": str(self.language),
            "origin": self.origin,
            "recognizer": self.recognizer,
            "score": self.score,
            "cues": cues,
        }
        return json.dumps(told, ensure_ascii=False).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> "SourceText":
        """Read it back."""
        value = json.loads(content)
        cues = tuple(
            Cue(Ms(start), Ms(end), tuple(lines), sentence, *style)
            for start, end, sentence, lines, *style in value["cues"]
        )
        return cls(
            LanguageTag.parse(value["language"]),
            value["origin"],
            cues,
            value.get("recognizer", ""),
            value.get("score"),
        )
