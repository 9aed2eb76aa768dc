"""Planner: decides which tracks are made for an item, from its settings, tracks and history."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from fluxcaption.domain.errors import NoUsableSource
from fluxcaption.domain.gaps import Action, Decision, LanguagePolicy, SourceHistory, decide
from fluxcaption.domain.jobs import Job, Priority
from fluxcaption.domain.language import LanguageTag, satisfies
from fluxcaption.domain.media import Item, MediaSource
from fluxcaption.domain.rules import EffectivePolicy, Rule, TargetRule, policy_for
from fluxcaption.domain.sources import FromAudio, FromText, SourceChoice, choose_source
from fluxcaption.domain.units import SourceId
from fluxcaption.ports.storage import History
from fluxcaption.ports.translation import Translator
from fluxcaption.settings import RuleEntry, Settings, Target


def language_policy_of(settings: Settings) -> LanguagePolicy:
    """Return the language policy that the settings describe."""
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
    """Decides about the targets of items. Scans, jobs and the command `why` share its decisions.

    Args:
        language_policy: Targets and rules of the settings.
        translators: Translation backends, in order of preference.
        history: Source of earlier decisions, deliveries and track facts.
        transcription_key: Returns a key of every setting that changes a transcript or its acceptance.

    Attributes:
        policy: The defaults of the language policy, without rules.
    """

    def __init__(
        self,
        language_policy: LanguagePolicy,
        translators: Sequence[Translator],
        history: History,
        transcription_key: Callable[[], str] = lambda: "",
    ) -> None:
        self.language_policy = language_policy
        self.policy = language_policy.defaults
        self.translators = tuple(translators)
        self._history = history
        self._transcription_key = transcription_key

    def translator_rank(self, source: LanguageTag, target: LanguageTag) -> int | None:
        """Return the index of the first translator that knows a pair, 0 first; None if no translator does."""
        return next(
            (rank for rank, translator in enumerate(self.translators) if translator.knows(source, target)),
            None,
        )

    def satisfies_target(self, language: LanguageTag, target: LanguageTag) -> bool:
        """Return True if text in `language` needs no translation for `target`."""
        return satisfies(language, target, self.policy.strictness)

    @property
    def skip_key(self) -> str:
        """Return a key of every setting that could change an earlier decision to make no track."""
        return f"{self._transcription_key()}/{self.policy.makes_spoken_language}"

    def with_targets(self, targets: Collection[LanguageTag]) -> "Planner":
        """Return a planner for other targets than those of the settings; without targets, this planner."""
        if not targets:
            return self
        target_rules = tuple(TargetRule(target) for target in targets)
        language_policy = LanguagePolicy(
            replace(self.language_policy.defaults, targets=target_rules, makes_spoken_language=True),
            tuple(replace(rule, targets=(), skip=False) for rule in self.language_policy.rules),
        )
        return Planner(language_policy, self.translators, self._history, self._transcription_key)

    async def plan(self, items: Sequence[Item]) -> Sequence[Sequence[Decision]]:
        """Return the decisions of each item, one for each media source and target."""
        history = await self._history.load(items, self.skip_key)
        return [self.decide(item, history) for item in items]

    def decide(self, item: Item, history: Mapping[SourceId, SourceHistory]) -> Sequence[Decision]:
        """Return the decisions of one item, one for each media source and target. Reads nothing."""
        return decide(item, self.language_policy, self.translator_rank, history)

    async def decide_job(self, item: Item, source: MediaSource, job: Job) -> Decision:
        """Return the current decision about the target of a job.

        The target of a requested job counts as wanted, whatever the settings say.

        Raises:
            NoUsableSource: The request names a source track that does not exist.
        """
        is_requested = job.priority is Priority.REQUESTED
        planner = self.with_targets([job.target]) if is_requested else self
        history = await self._history.load([item], planner.skip_key)
        for decision in planner.decide(item, history):
            if (decision.source.id, decision.target) == (source.id, job.target):
                if is_requested and _overrides(job, decision):
                    return planner._as_requested(decision, job, history.get(source.id, SourceHistory()))
                return decision
        reason = f"{job.target} is no longer among the targets"
        return Decision(item, source, job.target, Action.NOT_WANTED, reason)

    def _as_requested(self, decision: Decision, job: Job, history: SourceHistory) -> Decision:
        """Return the decision with the requested source, or with the one that is chosen for a gap."""
        choice: SourceChoice
        if job.request.source:
            choice = _requested_source(decision.source, job.request.source)
        else:
            choice = self._choose_source(decision, history)
        if isinstance(choice, FromText):
            action = Action.TRANSLATE
        elif isinstance(choice, FromAudio):
            action = Action.LISTEN
        else:
            action = Action.CANNOT
        return replace(decision, action=action, reason=f"requested by a user; {choice.reason}", choice=choice)

    def _choose_source(self, decision: Decision, history: SourceHistory) -> SourceChoice:
        item, source = decision.item, decision.source
        policy = policy_for(item, source, self.language_policy.defaults, self.language_policy.rules)
        return choose_source(
            item,
            history.tracks.applied_to(source),
            decision.target,
            self.translator_rank,
            policy.marker,
            policy.sources,
            history.tracks,
        )


def _overrides(job: Job, decision: Decision) -> bool:
    """Return True if a requested job is made in spite of the decision, or from another source or model."""
    request = job.request
    return (
        request.redo
        or bool(request.source or request.model)
        or decision.action in {Action.SKIPPED, Action.MISSING, Action.REMOVE_STALE}
    )


def _requested_source(source: MediaSource, name: str) -> FromText | FromAudio:
    """Return the track that a user names as `audio N`, `text N` (counted from 1) or by its file name.

    Raises:
        NoUsableSource: The media source has no usable track of that name.
    """
    kind, _, number = name.lower().partition(" ")
    ordinal = int(number) - 1 if number.isdecimal() else -1
    if kind == "audio":
        for audio in source.audio:
            if audio.ordinal == ordinal:
                return FromAudio(audio, f"the requested audio track {ordinal + 1} is transcribed")
    for track in source.subtitles:
        is_named = (
            track.file_name == name if track.is_external else (kind, track.ordinal) == ("text", ordinal)
        )
        if is_named and track.language is not None and track.is_text:
            return FromText(track, track.language, f"the requested {track.language} text track is translated")
    raise NoUsableSource(
        f"there is no usable track {name!r} in {source.stem}. `fluxcaption why` lists the tracks"
    )
