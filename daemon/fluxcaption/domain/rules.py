"""What the household wants of one media source: its defaults, changed by the first rule that matches."""

import re
from dataclasses import dataclass, replace
from functools import lru_cache

from fluxcaption.domain.language import LanguageTag, Strictness
from fluxcaption.domain.media import Item, MediaSource


@dataclass(frozen=True, slots=True)
class TargetRule:
    """A language the household reads.

    Attributes:
        only_foreign: Only where no sound track is understood.
    """

    target: LanguageTag
    only_foreign: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """Something else is wanted of a part of the library; an empty condition holds for everything.

    Attributes:
        path: Pattern over the server's path: `*` within a folder, `**` over folders.
        kind: movie, episode or video.
        sources: Acceptable source languages, best first; empty: whatever there is.
        skip: Nothing is made.
        allows_remote: Media that is no file of the library is used, too.
        hearing_impaired_covers: Whether a track for the hearing impaired serves; None: as the defaults say.
    """

    library: str = ""
    series: str = ""
    path: str = ""
    tag: str = ""
    collection: str = ""
    kind: str = ""
    targets: tuple[TargetRule, ...] = ()
    sources: tuple[LanguageTag, ...] = ()
    skip: bool = False
    allows_remote: bool = False
    hearing_impaired_covers: bool | None = None

    @property
    def name(self) -> str:
        """Its conditions, as a sentence names it."""
        parts = (
            ("library", self.library),
            ("series", self.series),
            ("path", self.path),
            ("tag", self.tag),
            ("collection", self.collection),
            ("type", self.kind),
        )
        return ", ".join(f"{name} {value}" for name, value in parts if value) or "everything"

    def matches(self, item: Item, source: MediaSource) -> bool:
        """Whether every condition it names holds; names are compared without case."""
        return (
            (not self.library or self.library.casefold() == item.library.casefold())
            and (not self.series or self.series.casefold() == item.series.casefold())
            and (not self.kind or self.kind == item.kind.value)
            and (not self.tag or self.tag.casefold() in {tag.casefold() for tag in item.tags})
            and (
                not self.collection
                or self.collection.casefold() in {name.casefold() for name in item.collections}
            )
            and (not self.path or bool(_pattern(self.path).fullmatch(source.path.replace("\\", "/"))))
        )


@dataclass(frozen=True, slots=True)
class EffectivePolicy:
    """What the household wants, as the decisions need it.

    Attributes:
        makes_spoken: Whether a target that equals the spoken language is made.
        marker: How our own tracks are named.
        sources: Acceptable source languages, best first; empty: whatever there is.
        yields_to_human: Whether our track goes when a human's arrives.
        rule: The rule these come from; empty for the defaults.
    """

    targets: tuple[TargetRule, ...]
    understood: tuple[LanguageTag, ...]
    makes_spoken_language: bool
    strictness: Strictness
    marker: str
    sources: tuple[LanguageTag, ...] = ()
    yields_to_human: bool = True
    hearing_impaired_covers: bool = True
    allows_remote: bool = False
    skip: bool = False
    rule: str = ""


def policy_for(
    item: Item, source: MediaSource, defaults: EffectivePolicy, rules: tuple[Rule, ...]
) -> EffectivePolicy:
    """The defaults, with what the first matching rule names put in their place."""
    rule = next((rule for rule in rules if rule.matches(item, source)), None)
    if rule is None:
        return defaults
    covers = rule.hearing_impaired_covers
    return replace(
        defaults,
        targets=rule.targets or defaults.targets,
        sources=rule.sources or defaults.sources,
        skip=rule.skip,
        allows_remote=rule.allows_remote,
        hearing_impaired_covers=defaults.hearing_impaired_covers if covers is None else covers,
        rule=rule.name,
    )


@lru_cache(maxsize=256)
def _pattern(glob: str) -> re.Pattern[str]:
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile(
        "".join(parts.get(part) or re.escape(part) for part in re.split(r"(\*\*/|\*\*|\*|\?)", glob)),
        re.IGNORECASE | re.DOTALL,
    )
