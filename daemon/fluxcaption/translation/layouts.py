"""How translation models want to be asked: a model's card says which layout, never its weights."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fluxcaption.domain.errors import ModelMissing
from fluxcaption.domain.language import LanguageTag

CARD = "fluxcaption.json"
MAX_TOKENS = 250
NAMES = ("m2m100", "nllb", "madlad")
"""Source and target token; the same with other names; the target token alone, before the source."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How to speak to one model.

    Attributes:
        languages: Our tag to the model's own token.
        pairs: The only pairs it knows; empty: all of `languages`.
        max_tokens: What it can write at most.
    """

    name: str
    languages: dict[str, str] = field(default_factory=dict)
    pairs: tuple[tuple[str, str], ...] = ()
    max_tokens: int = MAX_TOKENS

    def knows(self, source: LanguageTag, target: LanguageTag) -> bool:
        """Whether the pair can be asked."""
        if self.pairs:
            return (source.language, target.language) in self.pairs
        return self.token(source) is not None and self.token(target) is not None

    def token(self, tag: LanguageTag) -> str | None:
        """The model's name of a language, script and region before the bare one."""
        return self.languages.get(str(tag)) or self.languages.get(tag.language)

    def asks(
        self, pieces: Sequence[str], source: LanguageTag, target: LanguageTag
    ) -> tuple[list[str], list[str]]:
        """Source tokens and target prefix."""
        if self.name == "madlad":
            return [self.token(target) or "", *pieces, "</s>"], []
        return [self.token(source) or "", *pieces, "</s>"], [self.token(target) or ""]

    def answer(self, tokens: Sequence[str]) -> list[str]:
        """The words without the prefix."""
        known = set(self.languages.values())
        return [piece for piece in tokens if piece not in known and piece != "</s>"]


def read_layout(directory: Path, wanted: str) -> Layout:
    """Read the model's card, or tell the layout from its files.

    Raises:
        ModelMissing: The card cannot be read, or nothing tells the layout.
    """
    card = directory / CARD
    if card.is_file():
        try:
            value = json.loads(card.read_text(encoding="utf-8"))
            name = str(wanted if wanted != "auto" else value["layout"])
            if name not in NAMES:
                raise ValueError(f"layout {name} is none of {', '.join(NAMES)}")
            pairs = tuple((str(source), str(target)) for source, target in value.get("pairs", ()))
            return Layout(
                name, dict(value.get("languages", {})), pairs, int(value.get("max_length", MAX_TOKENS))
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelMissing(str(directory), f"its card {card} cannot be read ({error})") from error
    vocabulary = _vocabulary(directory)
    m2m = {token[2:-2]: token for token in vocabulary if token.startswith("__") and token.endswith("__")}
    if wanted in {"auto", "m2m100"} and m2m:
        return Layout("m2m100", m2m)
    madlad = {token[2:-1]: token for token in vocabulary if token.startswith("<2") and token.endswith(">")}
    if wanted in {"auto", "madlad"} and madlad:
        return Layout("madlad", madlad)
    raise ModelMissing(
        str(directory), f"nothing tells how it wants to be asked: put a card {CARD} beside model.bin"
    )


def _vocabulary(directory: Path) -> list[str]:
    try:
        value = json.loads((directory / "shared_vocabulary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [token for token in value if isinstance(token, str)]
