"""Sentences: cues grouped into the units that are translated together."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fluxcaption.domain.cues import Cue, TextUnit
from fluxcaption.domain.line_breaking import CLOSING_CHARACTERS, SENTENCE_END
from fluxcaption.domain.units import UnitId

SENTENCE_PAUSE_MS = 1_000
"""Pause in the speech that ends a sentence."""

MAX_SENTENCE_CUES = 4
MAX_SENTENCE_CHARACTERS = 240

_SENTENCE_END = frozenset(SENTENCE_END)
_DASH = re.compile(r"[-–—](?:\s+|(?=\D))(?=\S)")


@dataclass(frozen=True, slots=True)
class SpeakerTurn:
    """Words of one speaker within a cue.

    Attributes:
        dash: Dash before the words with its spaces; empty without one.
        text: Words on one line.
    """

    dash: str
    text: str


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence with the cues that show it.

    Attributes:
        id: Number of the sentence, from 1.
        text: Text of the cues on one line.
        cues: Cues in order of time.
    """

    id: UnitId
    text: str
    cues: tuple[Cue, ...]

    @property
    def units(self) -> tuple[TextUnit, ...]:
        """Return the texts to translate: the sentence, or the words of each speaker in a cue of several."""
        turns = self._turns
        if len(turns) == 1:
            return (TextUnit(self.id, self.text),)
        return tuple(
            TextUnit(UnitId(f"{self.id}.{number}"), turn.text) for number, turn in enumerate(turns, 1)
        )

    def rendered(self, texts: Mapping[UnitId, str]) -> str:
        """Return the sentence made of the texts of its units, with one line for each speaker."""
        translations = [" ".join(texts[unit.id].split()) for unit in self.units]
        if len(translations) == 1:
            return translations[0]
        return "\n".join(
            turn.dash + translation for turn, translation in zip(self._turns, translations, strict=True)
        )

    @property
    def _turns(self) -> Sequence[SpeakerTurn]:
        """Return the turns of a sentence in one cue; a sentence of several cues is one turn."""
        return speaker_turns(self.cues[0].lines) if len(self.cues) == 1 else (SpeakerTurn("", self.text),)


def group_into_sentences(cues: Sequence[Cue]) -> tuple[Sentence, ...]:
    """Group cues into sentences, by sentence number and by punctuation."""
    groups: list[list[Cue]] = []
    for cue in cues:
        if groups and (cue.sentence == groups[-1][-1].sentence or _continues_sentence(groups[-1], cue)):
            groups[-1].append(cue)
        else:
            groups.append([cue])
    return tuple(
        Sentence(UnitId(str(number)), " ".join(cue.text for cue in group), tuple(group))
        for number, group in enumerate(groups, 1)
    )


def ends_sentence(text: str) -> bool:
    """Return True if a text ends with the punctuation of a sentence end."""
    return text.rstrip(CLOSING_CHARACTERS + " ")[-1:] in _SENTENCE_END


def speaker_turns(lines: Sequence[str]) -> list[SpeakerTurn]:
    """Return the words of each speaker in a cue; a line that begins with a dash starts a turn."""
    turns: list[SpeakerTurn] = []
    for line in lines:
        dash = _DASH.match(line)
        if dash:
            turns.append(SpeakerTurn(dash[0], line[dash.end() :]))
        elif turns:
            turns[-1] = SpeakerTurn(turns[-1].dash, f"{turns[-1].text} {line}")
        else:
            turns.append(SpeakerTurn("", line))
    return turns


def _continues_sentence(group: Sequence[Cue], cue: Cue) -> bool:
    last = group[-1]
    return (
        not ends_sentence(last.text)
        and not _stands_alone(last)
        and not _stands_alone(cue)
        # Overlapping cues and cues of another style belong to another speaker or to a sign.
        and last.style == cue.style
        and 0 <= cue.start - last.end < SENTENCE_PAUSE_MS
        and len(group) < MAX_SENTENCE_CUES
        and sum(len(part.text) for part in group) + len(cue.text) <= MAX_SENTENCE_CHARACTERS
    )


def _stands_alone(cue: Cue) -> bool:
    """Return True for a cue of several speakers, a song or a sound description."""
    return (
        len(speaker_turns(cue.lines)) > 1
        or cue.text.startswith(("-", "–", "♪", "#", "[", "("))
        or cue.text.endswith(("♪", "]", ")"))
    )
