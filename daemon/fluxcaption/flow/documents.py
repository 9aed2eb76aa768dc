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
    """

    language: LanguageTag
    origin: str
    cues: tuple[Cue, ...]

    def to_bytes(self) -> bytes:
        """Spell it as JSON."""
        cues: Sequence[object] = [[cue.start, cue.end, cue.sentence, list(cue.lines), cue.style] for cue in self.cues]
        return json.dumps({"language": str(self.language), "origin": self.origin, "cues": cues}, ensure_ascii=False).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> "SourceText":
        """Read it back."""
        value = json.loads(content)
        cues = tuple(Cue(Ms(start), Ms(end), tuple(lines), sentence, *style) for start, end, sentence, lines, *style in value["cues"])
        return cls(LanguageTag.parse(value["language"]), value["origin"], cues)
