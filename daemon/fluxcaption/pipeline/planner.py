"""The household's wishes against items: settings made into decisions, with what is remembered."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from fluxcaption.domain.gaps import Decision, LanguagePolicy, SourceHistory, decide
from fluxcaption.domain.language import LanguageTag, satisfies
from fluxcaption.domain.media import Item
from fluxcaption.domain.rules import EffectivePolicy, Rule, TargetRule
from fluxcaption.domain.units import SourceId
from fluxcaption.ports.storage import Storage
from fluxcaption.ports.translation import Translator
from fluxcaption.settings import RuleEntry, Settings, Target


def language_policy_of(settings: Settings) -> LanguagePolicy:
    """Translate the settings into what the decisions need."""
    languages = settings.languages
    defaults = EffectivePolicy(
        targets=_target_rules(languages.targets),
        understood=languages.understood,
        makes_spoken_language=languages.when_spoken == "make",
        strictness=languages.strictness,
        marker=settings.subtitles.marker,
        yields_to_human=settings.subtitles.yield_to_human,
    )
    return LanguagePolicy(defaults, tuple(_rule(entry) for entry in settings.rules))


def _target_rules(targets: Sequence[Target]) -> tuple[TargetRule, ...]:
    return tuple(TargetRule(target.language, target.when == "foreign") for target in targets)


def _rule(entry: RuleEntry) -> Rule:
    return Rule(
        library=entry.library,
        series=entry.series,
        path=entry.path,
        tag=entry.tag,
        collection=entry.collection,
        kind=entry.type or "",
        targets=_target_rules(entry.targets),
        sources=entry.sources,
        skip=entry.skip,
        allows_remote=entry.remote,
        hearing_impaired_covers=entry.sdh_covers,
    )


class Planner:
    """Decides what is to be made of an item; the same for scans, jobs and answers to people."""

    def __init__(
        self,
        language_policy: LanguagePolicy,
        translators: Sequence[Translator],
        storage: Storage,
        hearing: Callable[[], str] = lambda: "",
    ) -> None:
        self.language_policy = language_policy
        self.policy = language_policy.defaults
        self.translators = tuple(translators)
        self._storage = storage
        self._hearing = hearing

    def reads(self, source: LanguageTag, target: LanguageTag) -> int | None:
        """The first backend that is worth asking for the pair."""
        return next(
            (place for place, translator in enumerate(self.translators) if translator.knows(source, target)),
            None,
        )

    @property
    def skip_key(self) -> str:
        """Names every setting by which an earlier decision to make nothing could come out otherwise."""
        return f"{self._hearing()}/{self.policy.makes_spoken_language}"

    async def plan(self, items: Sequence[Item]) -> Sequence[Sequence[Decision]]:
        """Decide every wanted language of every media source, item by item, with what is remembered of them."""
        memory = await self._storage.history.load(items, self.skip_key)
        return [self.decide(item, memory) for item in items]

    def decide(self, item: Item, memory: Mapping[SourceId, SourceHistory]) -> Sequence[Decision]:
        """The pure decision of one item."""
        return decide(item, self.language_policy, self.reads, memory)

    def naming(self, targets: Collection[LanguageTag]) -> "Planner":
        """The same planner for other targets than the household's; with none named, itself."""
        if not targets:
            return self
        policy = tuple(TargetRule(target) for target in targets)
        language_policy = LanguagePolicy(
            replace(self.language_policy.defaults, targets=policy, makes_spoken_language=True),
            tuple(replace(rule, targets=(), skip=False) for rule in self.language_policy.rules),
        )
        return Planner(language_policy, self.translators, self._storage, self._hearing)

    def serves(self, have: LanguageTag, want: LanguageTag) -> bool:
        """Whether text in one language is what the household asked for."""
        return satisfies(have, want, self.policy.strictness)
