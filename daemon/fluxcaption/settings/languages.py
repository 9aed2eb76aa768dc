"""Settings of the wanted languages, and the rules for parts of the library."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from fluxcaption.domain.language import LanguageTag, Strictness
from fluxcaption.settings.field_types import Language, Section

UNDERSTOOD_IS_EMPTY = "when: foreign needs languages.understood: name the languages that need no subtitles"


class Target(Section):
    """A wanted subtitle language."""

    language: Language
    when: Literal["always", "foreign"] = Field(
        "always", description="foreign: only if no audio track is in an understood language."
    )


def _expand_target(value: Any) -> Any:
    return {"language": value} if isinstance(value, str) else value


TargetEntry = Annotated[
    Target,
    BeforeValidator(_expand_target, json_schema_input_type=str | Target),
]


def _reject_repeated_targets(targets: tuple[Target, ...]) -> None:
    seen: set[LanguageTag] = set()
    for target in targets:
        if target.language in seen:
            raise ValueError(f"targets names {target.language} twice: remove one")
        seen.add(target.language)


class Languages(Section):
    """Wanted subtitle languages."""

    targets: tuple[TargetEntry, ...] = Field(
        min_length=1, description="BCP 47 codes, or {language: en, when: foreign}."
    )
    understood: tuple[Language, ...] = Field((), description="Languages that need no subtitles.")
    when_spoken: Literal["skip", "make"] = Field(
        "skip", description="skip | make: subtitles in the language that is spoken."
    )
    strictness: Strictness = Field(
        Strictness.LANGUAGE,
        description="language | script | region: how exactly an existing track must match a target.",
    )

    @model_validator(mode="after")
    def _reject_contradictions(self) -> "Languages":
        _reject_repeated_targets(self.targets)
        if not self.understood and any(target.when == "foreign" for target in self.targets):
            raise ValueError(UNDERSTOOD_IS_EMPTY)
        return self


class RuleEntry(Section):
    """Other settings for a part of the library; the first rule whose conditions all match is used."""

    library: str = Field("", description="Name of a library.")
    series: str = Field("", description="Name of a series.")
    path: str = Field(
        "", description="Pattern for the path on the server: * within a folder, ** across folders."
    )
    tag: str = Field("", description="A tag of the item.")
    collection: str = Field("", description="Name of a collection that contains the item.")
    type: Literal["movie", "episode", "video"] | None = Field(None, description="Kind of the item.")
    targets: tuple[TargetEntry, ...] = Field((), description="Replaces languages.targets.")
    sources: tuple[Language, ...] = Field(
        (), description="Accepted source languages, best first; no other is used."
    )
    skip: bool = Field(False, description="Make no subtitles.")
    remote: bool = Field(
        False, description="Also use media that is not a local file: .strm files, cloud folders."
    )
    sdh_covers: bool | None = Field(
        None, description="Accept a track for the hearing impaired as an existing track; default: true."
    )

    @model_validator(mode="after")
    def _reject_rules_without_effect(self) -> "RuleEntry":
        if not any((self.library, self.series, self.path, self.tag, self.collection, self.type)):
            raise ValueError("the rule has no condition: add library, series, path, tag, collection or type")
        changes = bool(self.targets or self.sources or self.remote or self.sdh_covers is not None)
        if not (changes or self.skip):
            raise ValueError("the rule has no effect: add targets, sources, skip, remote or sdh_covers")
        if self.skip and changes:
            raise ValueError(
                "a rule with skip makes no subtitles: remove skip, or targets, sources, remote and sdh_covers"
            )
        _reject_repeated_targets(self.targets)
        return self
