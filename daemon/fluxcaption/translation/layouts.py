"""Token layouts of translation models: the place of the language tokens in source and target prefix.

Source: CTranslate2 documentation, guide "Transformers", sections "M2M-100", "NLLB" and "T5"; model card of
google/madlad400-3b-mt.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fluxcaption.domain.errors import ModelMissing
from fluxcaption.domain.language import LanguageTag

CARD = "fluxcaption.json"
"""File in a model directory that names the layout, the language tokens and the known pairs."""

MAX_TOKENS = 250
"""Longest translation of one sentence, unless the card states another length."""

LAYOUT_NAMES = ("m2m100", "nllb", "madlad")
"""m2m100: source language token first, target language token as the target prefix. nllb: the same with other
tokens. madlad: target language token first, no target prefix.
"""

END_OF_SENTENCE = "</s>"


@dataclass(frozen=True, slots=True)
class Layout:
    """Token layout of one model.

    Attributes:
        name: One of `LAYOUT_NAMES`.
        languages: Language tag to the token of the model.
        pairs: Source and target languages of the known pairs; empty if all `languages` combine.
        max_tokens: Longest translation that the model can write.
    """

    name: str
    languages: dict[str, str] = field(default_factory=dict)
    pairs: tuple[tuple[str, str], ...] = ()
    max_tokens: int = MAX_TOKENS

    def knows(self, source: LanguageTag, target: LanguageTag) -> bool:
        """Return True if the model translates the pair."""
        if self.pairs:
            return (source.language, target.language) in self.pairs
        return self.language_token(source) is not None and self.language_token(target) is not None

    def language_token(self, tag: LanguageTag) -> str | None:
        """Return the token of a tag with script and region, else of its language, else None."""
        return self.languages.get(str(tag)) or self.languages.get(tag.language)

    def source_tokens(self, pieces: Sequence[str], source: LanguageTag, target: LanguageTag) -> list[str]:
        """Return the input of the encoder for the SentencePiece pieces of one sentence."""
        first = target if self.name == "madlad" else source
        return [self.language_token(first) or "", *pieces, END_OF_SENTENCE]

    def target_prefix(self, target: LanguageTag) -> list[str] | None:
        """Return the tokens with which the decoder begins; None if the layout has no prefix."""
        return None if self.name == "madlad" else [self.language_token(target) or ""]

    def remove_control_tokens(self, tokens: Sequence[str]) -> list[str]:
        """Return the pieces of a translation without language tokens and end of sentence."""
        control_tokens = {*self.languages.values(), END_OF_SENTENCE}
        return [token for token in tokens if token not in control_tokens]


def read_layout(directory: Path, wanted: str) -> Layout:
    """Read the layout from the card of a model, or derive it from the vocabulary if there is no card.

    `wanted` is a layout name that replaces the one in the card, or `auto`.

    Raises:
        ModelMissing: The card cannot be read, or the vocabulary has no known language tokens.
    """
    card = directory / CARD
    if card.is_file():
        return _layout_from_card(card, wanted)
    vocabulary = _read_vocabulary(directory)
    m2m100 = {token[2:-2]: token for token in vocabulary if token.startswith("__") and token.endswith("__")}
    if wanted in {"auto", "m2m100"} and m2m100:
        return Layout("m2m100", m2m100)
    madlad = {token[2:-1]: token for token in vocabulary if token.startswith("<2") and token.endswith(">")}
    if wanted in {"auto", "madlad"} and madlad:
        return Layout("madlad", madlad)
    raise ModelMissing(
        str(directory), f"its token layout is unknown. Put a card {CARD} beside model.bin that names it."
    )


def _layout_from_card(card: Path, wanted: str) -> Layout:
    try:
        value = json.loads(card.read_text(encoding="utf-8"))
        name = str(wanted if wanted != "auto" else value["layout"])
        if name not in LAYOUT_NAMES:
            raise ValueError(f"layout {name} is none of {', '.join(LAYOUT_NAMES)}")
        pairs = tuple((str(source), str(target)) for source, target in value.get("pairs", ()))
        max_tokens = int(value.get("max_length", MAX_TOKENS))
        return Layout(name, dict(value.get("languages", {})), pairs, max_tokens)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelMissing(str(card.parent), f"its card {card} cannot be read ({error})") from error


def _read_vocabulary(directory: Path) -> list[str]:
    """Return the tokens of a model; empty if the file is missing or damaged."""
    try:
        value = json.loads((directory / "shared_vocabulary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [token for token in value if isinstance(token, str)]
