"""Language settings for one media source: the defaults, changed by the first rule that matches."""

import re
from dataclasses import dataclass, replace
from functools import lru_cache

from fluxcaption.domain.language import LanguageTag, Strictness
from fluxcaption.domain.media import Item, MediaSource


@dataclass(frozen=True, slots=True)
class TargetRule:
    """Wanted subtitle language.

    Attributes:
        target: Target language.
        only_foreign: True if the target is wanted only without an audio track in an understood language.
    """

    target: LanguageTag
    only_foreign: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """Exception for a part of the library: conditions and their effects; an empty condition always holds.

    Attributes:
        library: Name of the library.
        series: Name of the series.
        path: Pattern over the path on the server: `*` within a folder, `**` over folders.
        tag: Tag of the item.
        collection: Name of a collection that contains the item.
        kind: `movie`, `episode` or `video`.
        targets: Wanted languages; empty: those of the defaults.
        sources: Accepted source languages, best first; empty: those of the defaults.
        skip: True if no track is made.
        allows_remote: True if media that is not a file of the library is included.
        hearing_impaired_covers: True if a track for the hearing impaired covers its language; None: as in the
            defaults.
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
        """Return the conditions as part of a sentence."""
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
        """Return True if every condition holds; names are compared without case."""
        return (
            (not self.library or self.library.casefold() == item.library.casefold())
            and (not self.series or self.series.casefold() == item.series.casefold())
            and (not self.kind or self.kind == item.kind.value)
            and (not self.tag or self.tag.casefold() in {tag.casefold() for tag in item.tags})
            and (
                not self.collection
                or self.collection.casefold() in {name.casefold() for name in item.collections}
            )
            and (not self.path or bool(_path_pattern(self.path).fullmatch(source.path.replace("\\", "/"))))
        )


@dataclass(frozen=True, slots=True)
class EffectivePolicy:
    """Language settings that apply to one media source.

    Attributes:
        targets: Wanted languages in the order of the configuration.
        understood: Languages that viewers understand without subtitles.
        makes_spoken_language: True if a target that equals the spoken language is made.
        strictness: Parts of a tag that must agree before a track serves a target.
        marker: Name under which FluxCaption tracks are recognized.
        sources: Accepted source languages, best first; empty: any language.
        yields_to_human: True if a FluxCaption track is removed when a human-made track arrives.
        hearing_impaired_covers: True if a track for the hearing impaired covers its language.
        allows_remote: True if media that is not a file of the library is included.
        skip: True if no track is made.
        rule: Name of the rule that applied; empty for the defaults.
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
    """Return the defaults with the effects of the first matching rule."""
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
def _path_pattern(glob: str) -> re.Pattern[str]:
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile(
        "".join(parts.get(part) or re.escape(part) for part in re.split(r"(\*\*/|\*\*|\*|\?)", glob)),
        re.IGNORECASE | re.DOTALL,
    )
