"""The household's wishes against one item: settings made into decisions."""

from collections.abc import Sequence

from fluxcaption.domain.gaps import Decision, Wish, Wishes, decide
from fluxcaption.domain.language import LanguageTag, satisfies
from fluxcaption.domain.media import Item
from fluxcaption.ports import Translator
from fluxcaption.settings import Languages


def wishes_of(languages: Languages, marker: str) -> Wishes:
    """Translate the settings into what the decisions need."""
    return Wishes(
        targets=tuple(Wish(target.language, target.when == "foreign") for target in languages.targets),
        understood=languages.understood,
        makes_spoken=languages.when_spoken == "make",
        strictness=languages.strictness,
        marker=marker,
    )


class Planner:
    """Decides what is to be made of an item; the same for scans, jobs and answers to people."""

    def __init__(self, wishes: Wishes, translators: Sequence[Translator]) -> None:
        self.wishes = wishes
        self.translators = tuple(translators)

    def can_translate(self, source: LanguageTag, target: LanguageTag) -> bool:
        """Whether some backend is worth asking for the pair."""
        return any(translator.knows(source, target) for translator in self.translators)

    def plan(self, item: Item) -> Sequence[Decision]:
        """Decide every wanted language of every media source of an item."""
        return decide(item, self.wishes, self.can_translate)

    def serves(self, have: LanguageTag, want: LanguageTag) -> bool:
        """Whether text in one language is what the household asked for."""
        return satisfies(have, want, self.wishes.strictness)
