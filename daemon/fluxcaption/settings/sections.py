"""The other sections, and the configuration as a whole."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from fluxcaption.domain.language import normalize
from fluxcaption.domain.media import SubtitleTrack
from fluxcaption.domain.sources import MACHINE_MARKS
from fluxcaption.domain.track_titles import apply_title
from fluxcaption.settings.backends import Speech, Translation
from fluxcaption.settings.field_types import Cron, Duration, Section, Size, Threads
from fluxcaption.settings.languages import UNDERSTOOD_IS_EMPTY, Languages, RuleEntry
from fluxcaption.settings.server import FolderConfig, JellyfinConfig

MIN_SCAN_INTERVAL = timedelta(minutes=1)
MAX_PORT = 65535
PAUSE_PATTERN = r"^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$"


class Backlog(Section):
    """Titles that were in the library before the first start."""

    mode: Literal["none", "recent", "all"] = Field(
        "recent", description="none | recent | all: which of them get subtitles without a request."
    )
    recent: Duration = Field(timedelta(days=30), description="Age up to which a title is recent.")
    order: Literal["newest", "oldest"] = Field(
        "newest", description="newest | oldest: the title to start with."
    )
    per_day: int = Field(20, ge=0, description="Backlog titles that are started in 24 hours.")


class Subtitles(Section):
    """Subtitle files."""

    marker: str = Field(
        "fluxcaption",
        pattern=r"^[a-z][a-z0-9-]{2,30}$",
        description="Part of the name of every written file; must not name a language or a kind of track.",
    )
    yield_to_human: bool = Field(
        True, description="Remove a generated track if a human-made one in the same language appears."
    )

    @field_validator("marker")
    @classmethod
    def _reject_ambiguous_marker(cls, marker: str) -> str:
        """Reject a word that a server reads as a language or as a property of the track."""
        if marker not in MACHINE_MARKS and (language := normalize(marker)) is not None:
            raise ValueError(
                f"{marker} names a language ({language}), and a server may read it as one: "
                "choose another word"
            )
        track = apply_title(SubtitleTrack("", None, "subrip", title=marker))
        is_property = not track.has_full_dialogue or track.is_hearing_impaired
        if is_property or any(word in marker for word in ("default", "forced", "foreign")):
            raise ValueError(
                f"{marker} names a kind of track, and a server may read it as one: choose another word"
            )
        return marker


class Limits(Section):
    """Resources of this machine that the daemon may use."""

    speech_jobs: int = Field(1, ge=1, le=16, description="Jobs with speech recognition at the same time.")
    threads: Threads = Field(
        "half", description="half | all | a number: cores for speech recognition and translation."
    )
    nice: int = Field(10, ge=0, le=19, description="Nice value of their threads; 19 yields the most.")
    disk_free: Size = Field(
        5 * 2**30, description="New jobs wait while the disk of the state directory has less free space."
    )


class Schedule(Section):
    """Times of scans, and times without speech recognition."""

    scan: Duration = Field(timedelta(minutes=15), description="Interval of incremental scans.")
    full_scan: Cron = Field("0 4 * * *", description="Cron expression of the full scan.")
    timezone: str = Field("auto", description="auto: the time zone of this machine; or Europe/Berlin.")
    while_playing: Literal["pause", "slow", "ignore"] = Field(
        "pause",
        description=(
            "Local work during playback: pause (except requested items and the next episode), slow, ignore."
        ),
    )
    pause: tuple[Annotated[str, Field(pattern=PAUSE_PATTERN)], ...] = Field(
        (), description="Hours without speech recognition, such as 18:00-23:30."
    )

    @field_validator("scan")
    @classmethod
    def _reject_short_interval(cls, value: timedelta) -> timedelta:
        if value < MIN_SCAN_INTERVAL:
            raise ValueError("must be at least 1m")
        return value


class Web(Section):
    """The HTTP port."""

    listen: str = Field("127.0.0.1:8765", pattern=r"^.+:\d{1,5}$", description="Address and port.")
    public_url: str = Field(
        "",
        pattern=r"^(https?://[^/\s]+.*)?$",
        description="Address for Jellyfin's webhook; checked by `fluxcaption doctor`.",
    )
    webhook_secret: SecretStr | None = Field(
        None,
        description=(
            "Secret of Jellyfin's webhook; "
            "or webhook_secret_file, or a systemd credential named webhook_secret."
        ),
    )
    webhook_secret_file: Path | None = Field(None, description="A file that contains only the secret.")

    @field_validator("listen")
    @classmethod
    def _reject_impossible_port(cls, value: str) -> str:
        if int(value.rsplit(":", 1)[1]) > MAX_PORT:
            raise ValueError(f"the port must be at most {MAX_PORT}")
        return value


class Log(Section):
    """The log."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "text", "json"] = Field(
        "auto", description="auto: text on a terminal, JSON lines otherwise."
    )


class Settings(Section):
    """The whole configuration."""

    server: Annotated[JellyfinConfig | FolderConfig, Field(discriminator="type")]
    languages: Languages
    rules: tuple[RuleEntry, ...] = Field(
        (), description="The first matching rule is used; settings that it does not name keep their defaults."
    )
    backlog: Backlog = Backlog()
    asr: Speech = Speech()
    translation: Translation = Translation()
    subtitles: Subtitles = Subtitles()
    limits: Limits = Limits()
    schedule: Schedule = Schedule()
    web: Web = Web()
    log: Log = Log()
    state: Path = Field(Path("/var/lib/fluxcaption"), description="Folder of the database and work files.")

    @property
    def control_socket(self) -> Path:
        """Return the path of the running daemon's control socket."""
        return self.state / "control.sock"

    @model_validator(mode="after")
    def _reject_foreign_targets_without_understood(self) -> "Settings":
        if not self.languages.understood:
            for number, rule in enumerate(self.rules, 1):
                if any(target.when == "foreign" for target in rule.targets):
                    raise ValueError(f"rule {number}: {UNDERSTOOD_IS_EMPTY}")
        return self
