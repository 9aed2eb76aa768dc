"""Every setting with its unit and default; frozen, validated, without I/O.

The configuration file, its JSON Schema and the commented example are all made from these models.
Only keys that do something are here: an unknown key is an error.
"""

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic.json_schema import WithJsonSchema

from fluxcaption.domain.language import LanguageTag, Strictness, normalize
from fluxcaption.domain.media import SubtitleTrack
from fluxcaption.domain.sources import MACHINE_MARKS
from fluxcaption.domain.track_titles import apply_title

MAX_THREADS = 256
MIN_SCAN = timedelta(minutes=1)
MAX_PORT = 65535
_CRON_FIELDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_CRON_PART = re.compile(r"(?:\*|(\d+|[a-z]{3})(?:-(\d+|[a-z]{3}))?)(?:/([1-9]\d*))?")
_DURATION = re.compile(r"(\d+)\s*(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZE = re.compile(r"(\d+)\s*(B|KiB|MiB|GiB|TiB)")
_BYTES = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


def _duration(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        return timedelta(seconds=int(match[1]) * _SECONDS[match[2]])
    raise ValueError("write a duration such as 90s, 15m, 2h or 30d")


def _size(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        return int(match[1]) * _BYTES[match[2]]
    raise ValueError("write a size such as 512MiB or 5GiB")


def _language(value: Any) -> Any:
    if isinstance(value, LanguageTag):
        return value
    if isinstance(value, str):
        return LanguageTag.parse(value)
    raise ValueError("write a language code such as de, pt-BR or zh-Hans")


def _show_duration(value: timedelta) -> str:
    seconds = int(value.total_seconds())
    for unit in ("d", "h", "m"):
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{seconds // _SECONDS[unit]}{unit}"
    return f"{seconds}s"


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    PlainSerializer(_show_duration, return_type=str),
    WithJsonSchema(
        {"type": "string", "pattern": r"^\d+\s*[smhd]$", "description": "Duration: 90s, 15m, 2h, 30d"}
    ),
]
Size = Annotated[
    int,
    BeforeValidator(_size),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": r"^\d+\s*([KMGT]i)?B$"}]}
    ),
]
Language = Annotated[
    LanguageTag,
    BeforeValidator(_language),
    PlainSerializer(str, return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "minLength": 2,
            "maxLength": 35,
            "description": "BCP 47 language code: de, pt-BR, zh-Hans",
        }
    ),
]


class Section(BaseModel):
    """A part of the configuration: unknown keys are errors, nothing changes after loading."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        arbitrary_types_allowed=True,
        hide_input_in_errors=True,
        coerce_numbers_to_str=True,
    )


class PathMapping(Section):
    """One pair of prefixes for the same folder."""

    server: str = Field(description="Folder as the server spells it.")
    local: Path = Field(description="The same folder on this machine.")


class JellyfinConfig(Section):
    """A Jellyfin server."""

    type: Literal["jellyfin"] = "jellyfin"
    url: str = Field(
        pattern=r"^https?://[^/\s]+", description="Address with base path, as a browser uses it."
    )
    api_key: SecretStr | None = Field(
        None,
        description="API key from the dashboard; or api_key_file, or a systemd credential named jellyfin_api_key.",
    )
    api_key_file: Path | None = Field(None, description="A file that holds the key alone.")
    tls_verify: bool = Field(True, description="Check the server's certificate.")
    ca_file: Path | None = Field(None, description="Certificate authority of a self-signed server.")
    path_map: tuple[PathMapping, ...] = Field(
        (), description="Where the server's folders lie here; empty: audio is streamed from the server."
    )
    write: Literal["auto", "upload", "sidecar"] = Field(
        "auto", description="auto: upload, sidecar where an upload cannot work."
    )

    @model_validator(mode="after")
    def _refuse_a_sidecar_nowhere(self) -> "JellyfinConfig":
        if self.write == "sidecar" and not self.path_map:
            raise ValueError("write: sidecar needs path_map, which says where the server's folders lie here")
        return self


class FolderConfig(Section):
    """A folder tree with sidecar files; no server at all."""

    type: Literal["folder"]
    path: Path = Field(description="The folder that holds films and episodes.")


class Target(Section):
    """A language the household reads."""

    language: Language
    when: Literal["always", "foreign"] = Field(
        "always", description="foreign: only where no audio track is understood."
    )


def _target(value: Any) -> Any:
    return {"language": value} if isinstance(value, str) else value


TargetEntry = Annotated[
    Target,
    BeforeValidator(_target, json_schema_input_type=str | Target),
]


NOTHING_UNDERSTOOD = (
    "when: foreign needs languages.understood: name the languages the household follows without subtitles"
)


def _refuse_doubles(key: str, targets: tuple[Target, ...]) -> None:
    seen: set[LanguageTag] = set()
    for target in targets:
        if target.language in seen:
            raise ValueError(f"{key} names {target.language} twice")
        seen.add(target.language)


class Languages(Section):
    """Which languages are wanted, and when."""

    targets: tuple[TargetEntry, ...] = Field(
        min_length=1, description="BCP 47 codes, or {language: en, when: foreign}."
    )
    understood: tuple[Language, ...] = Field((), description="What the household follows without subtitles.")
    when_spoken: Literal["skip", "make"] = Field(
        "skip", description="What to do where the target is the spoken language."
    )
    strictness: Strictness = Field(
        Strictness.LANGUAGE, description="language | script | region: how exactly a track must match."
    )

    @model_validator(mode="after")
    def _refuse_what_cannot_work(self) -> "Languages":
        _refuse_doubles("targets", self.targets)
        if not self.understood and any(target.when == "foreign" for target in self.targets):
            raise ValueError(NOTHING_UNDERSTOOD)
        return self


class RuleEntry(Section):
    """Something else is wanted of a part of the library; the first rule whose conditions all hold is used."""

    library: str = Field("", description="Name of a library.")
    series: str = Field("", description="Name of a series.")
    path: str = Field("", description="Pattern over the server's path: * within a folder, ** over folders.")
    tag: str = Field("", description="A tag of the item.")
    collection: str = Field("", description="Name of a collection it is in.")
    type: Literal["movie", "episode", "video"] | None = Field(None, description="What sort of thing it is.")
    targets: tuple[TargetEntry, ...] = Field((), description="Wanted languages instead of languages.targets.")
    sources: tuple[Language, ...] = Field(
        (), description="Acceptable source languages, best first; nothing else is used."
    )
    skip: bool = Field(False, description="Make nothing.")
    remote: bool = Field(
        False, description="Also use media that is no file of the library: .strm, cloud folders."
    )
    sdh_covers: bool | None = Field(
        None, description="Whether a track for the hearing impaired counts; it does by default."
    )

    @model_validator(mode="after")
    def _refuse_what_does_nothing(self) -> "RuleEntry":
        if not any((self.library, self.series, self.path, self.tag, self.collection, self.type)):
            raise ValueError("a rule needs a condition: library, series, path, tag, collection or type")
        if not (self.targets or self.sources or self.skip or self.remote or self.sdh_covers is not None):
            raise ValueError("a rule needs an effect: targets, sources, skip, remote or sdh_covers")
        if self.skip and (self.targets or self.sources or self.remote or self.sdh_covers is not None):
            raise ValueError(
                "a rule that skips makes nothing: remove skip, or targets, sources, remote and sdh_covers"
            )
        _refuse_doubles("targets", self.targets)
        return self


class Backlog(Section):
    """What is done with the library that was there before."""

    mode: Literal["none", "recent", "all"] = "recent"
    recent: Duration = Field(timedelta(days=30), description="What counts as recent.")
    order: Literal["newest", "oldest"] = "newest"
    per_day: int = Field(20, ge=0, description="Titles of the backlog begun in 24 hours.")


class LocalSpeech(Section):
    """faster-whisper on this machine."""

    type: Literal["local"] = "local"
    model: str = Field("auto", description="auto, or a CTranslate2 directory.")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    compute_type: Literal[
        "auto",
        "default",
        "int8",
        "int8_float32",
        "int8_float16",
        "int8_bfloat16",
        "int16",
        "float16",
        "bfloat16",
        "float32",
    ] = Field("auto", description="How the model computes; auto picks what the device is good at.")


class Speech(Section):
    """Listening."""

    backends: tuple[LocalSpeech, ...] = Field(
        (LocalSpeech(),), min_length=1, max_length=1, description="The recogniser."
    )
    min_score: float = Field(0.5, ge=0, le=1, description="Below: not published, with the reason.")
    unload_after: Duration = Field(
        timedelta(minutes=5), description="An idle model gives its memory back after this."
    )


class LocalTranslation(Section):
    """A CTranslate2 translation model on this machine."""

    type: Literal["local"]
    model: str = Field(description="A CTranslate2 directory, or miniature for the demo model.")
    layout: Literal["auto", "m2m100", "nllb", "madlad"] = Field(
        "auto", description="Which tokens the model expects; auto reads the model's card."
    )


class OllamaTranslation(Section):
    """A language model behind Ollama."""

    type: Literal["ollama"]
    url: str = Field(pattern=r"^https?://[^/\s]+")
    model: str
    concurrency: int = Field(1, ge=1, le=16)


TranslationBackend = Annotated[LocalTranslation | OllamaTranslation, Field(discriminator="type")]


def _percent(value: Any) -> Any:
    if isinstance(value, str) and value.strip().endswith("%"):
        return float(value.strip()[:-1]) / 100
    return value


class Translation(Section):
    """Translating."""

    backends: tuple[TranslationBackend, ...] = Field((), description="Tried in order.")
    patience: Duration = Field(
        timedelta(hours=12), description="How long a preferred backend may be away before the next is used."
    )
    max_untranslated: Annotated[float, BeforeValidator(_percent)] = Field(
        0.02,
        description="Share of sentences that may keep their source text.",
        json_schema_extra={
            "anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^\d+(\.\d+)?\s*%$"}]
        },
    )


class Subtitles(Section):
    """What is written."""

    marker: str = Field(
        "fluxcaption",
        pattern=r"^[a-z][a-z0-9-]{2,30}$",
        description="Part of every file name we write; not a language word.",
    )
    yield_to_human: bool = Field(
        True, description="Our track goes when a human's in the same language arrives."
    )

    @field_validator("marker")
    @classmethod
    def _refuse_what_servers_take_for_something_else(cls, marker: str) -> str:
        if marker not in MACHINE_MARKS and (language := normalize(marker)) is not None:
            raise ValueError(
                f"{marker} names a language ({language}), and a server may read it as one: choose another word"
            )
        named_so = apply_title(SubtitleTrack("", None, "subrip", title=marker))
        if (
            not named_so.has_full_dialogue
            or named_so.is_hearing_impaired
            or any(word in marker for word in ("default", "forced", "foreign"))
        ):
            raise ValueError(
                f"{marker} says something of a track in the name of its file: choose another word"
            )
        return marker


def _threads(value: Any) -> Any:
    if value in {"half", "all"} or (
        isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_THREADS
    ):
        return value
    raise ValueError(f"write half, all, or a number from 1 to {MAX_THREADS}")


Threads = Annotated[Literal["half", "all"] | int, BeforeValidator(_threads)]


class Limits(Section):
    """What the daemon may use of the machine."""

    speech_jobs: int = Field(1, ge=1, le=16)
    threads: Threads = Field("half", description="half | all | a number: cores that engines may use.")
    nice: int = Field(10, ge=0, le=19)
    disk_free: Size = Field(
        5 * 2**30, description="New work waits while the state directory has less room than this."
    )


def _cron(value: Any) -> Any:
    fields = value.lower().split() if isinstance(value, str) else []
    parts = [
        (part, borders)
        for field, borders in zip(fields, _CRON_FIELDS, strict=False)
        for part in field.split(",")
    ]
    if len(fields) == len(_CRON_FIELDS) and all(_is_cron_part(*part) for part in parts):
        return value
    raise ValueError("write five fields, minute hour day month weekday, such as 0 4 * * *")


def _is_cron_part(part: str, borders: tuple[int, int]) -> bool:
    match = _CRON_PART.fullmatch(part)
    return match is not None and all(
        not number.isdecimal() or borders[0] <= int(number) <= borders[1]
        for number in match.groups()[:2]
        if number
    )


Cron = Annotated[str, BeforeValidator(_cron)]


class Schedule(Section):
    """When things happen."""

    scan: Duration = Field(timedelta(minutes=15), description="Incremental scan.")
    full_scan: Cron = Field("0 4 * * *", description="Cron expression of the full scan.")
    timezone: str = Field("auto", description="auto: the machine's.")
    while_playing: Literal["pause", "slow", "ignore"] = Field(
        "pause",
        description="Listening and local translation of what nobody asked for, while somebody watches; the very next episode goes on slowly.",
    )
    pause: tuple[Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$")], ...] = (
        Field((), description="No speech recognition then: 18:00-23:30.")
    )

    @field_validator("scan")
    @classmethod
    def _leave_the_server_alone(cls, value: timedelta) -> timedelta:
        if value < MIN_SCAN:
            raise ValueError("must be at least 1m")
        return value


class Web(Section):
    """The HTTP port."""

    listen: str = Field("127.0.0.1:8765", pattern=r"^.+:\d{1,5}$")
    public_url: str = Field(
        "",
        pattern=r"^(https?://[^/\s]+.*)?$",
        description="What Jellyfin calls; checked by `fluxcaption doctor`.",
    )
    webhook_secret: SecretStr | None = Field(
        None,
        description="What Jellyfin's webhook sends; or webhook_secret_file, or a systemd credential named webhook_secret.",
    )
    webhook_secret_file: Path | None = None

    @field_validator("listen")
    @classmethod
    def _refuse_no_port(cls, value: str) -> str:
        if int(value.rsplit(":", 1)[1]) > MAX_PORT:
            raise ValueError(f"the port must be at most {MAX_PORT}")
        return value


class Log(Section):
    """What is logged."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "text", "json"] = "auto"


class Settings(Section):
    """The whole configuration."""

    server: Annotated[JellyfinConfig | FolderConfig, Field(discriminator="type")]
    languages: Languages
    rules: tuple[RuleEntry, ...] = Field(
        (), description="First match wins; what a rule does not name falls through to the defaults."
    )
    backlog: Backlog = Backlog()
    asr: Speech = Speech()
    translation: Translation = Translation()
    subtitles: Subtitles = Subtitles()
    limits: Limits = Limits()
    schedule: Schedule = Schedule()
    web: Web = Web()
    log: Log = Log()
    state: Path = Field(Path("/var/lib/fluxcaption"), description="Database and work files.")

    @model_validator(mode="after")
    def _refuse_what_cannot_work(self) -> "Settings":
        if not self.languages.understood:
            for number, rule in enumerate(self.rules, 1):
                if any(target.when == "foreign" for target in rule.targets):
                    raise ValueError(f"rule {number}: {NOTHING_UNDERSTOOD}")
        return self
