"""Items, their media sources and the tracks in them, as every library adapter describes them."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.units import ContentHash, Fingerprint, ItemId, Ms, ServerId, SourceId

TEXT_CODECS = frozenset(
    {"subrip", "srt", "ass", "ssa", "mov_text", "webvtt", "vtt", "text", "ttml", "sami", "microdvd"}
)
"""Subtitle codecs that carry text; teletext (dvbtxt) and pictures (pgs, vobsub, dvb) do not count."""

_PICTURES = ("pgs", "dvdsub", "vobsub", "dvbsub", "xsub", "dvbtxt", "teletext")


def is_picture_codec(codec: str) -> bool:
    """Whether a subtitle codec carries pictures or teletext, in the spelling of any server or library."""
    name = codec.lower().replace("_", "")
    return name in {"sub", "sup"} or any(picture in name for picture in _PICTURES)


@dataclass(frozen=True, slots=True)
class AudioTrack:
    """One sound track inside a media file.

    Attributes:
        ordinal: Position among the embedded audio tracks, from 0 (`0:a:<ordinal>` of ffmpeg).
        language: What the file says, normalised; None when it says nothing.
    """

    ordinal: int
    language: LanguageTag | None
    title: str = ""
    codec: str = ""
    is_default: bool = False
    is_original: bool = False
    is_commentary: bool = False
    """Commentary or audio description, told by disposition or title."""


@dataclass(frozen=True, slots=True)
class SubtitleTrack:
    """One subtitle track, embedded or beside the file.

    Attributes:
        handle: How the adapter that listed it finds it again in this answer; not valid in another answer.
        ordinal: Position among the embedded subtitle tracks, from 0; None for an external track.
        path: Where an external track lies, as its library spells it.
        suffix: What the name of an external track has beyond its media's: `fluxcaption.de.srt`.
    """

    handle: str
    language: LanguageTag | None
    codec: str
    title: str = ""
    ordinal: int | None = None
    path: str | None = None
    suffix: str = ""
    is_forced: bool = False
    is_hearing_impaired: bool = False
    is_text: bool = True
    is_commentary: bool = False
    is_signs: bool = False
    """Only what is written in the picture, or sung: told by its title."""

    @property
    def key(self) -> str:
        """What tells it from the other tracks of its media source, whatever index it has in an answer."""
        return self.path or f"embedded {self.ordinal} {self.codec} {self.title}"

    @property
    def has_full_dialogue(self) -> bool:
        """Whether it has the whole dialogue as text, in whatever language."""
        return self.is_text and not self.is_forced and not self.is_commentary and not self.is_signs

    @property
    def is_external(self) -> bool:
        """Whether the track is a file of its own."""
        return self.ordinal is None

    @property
    def file_name(self) -> str:
        """Name of an external track without its folder, whichever slashes its server uses."""
        return (self.path or "").replace("\\", "/").rsplit("/", 1)[-1]

    @property
    def folder(self) -> str:
        """Folder of an external track, with forward slashes."""
        return (self.path or "").replace("\\", "/").rpartition("/")[0]


@dataclass(frozen=True, slots=True)
class MediaSource:
    """One file or version of an item.

    Attributes:
        path: Where it lies, as its library spells it.
        revision: Changes when the bytes change (an mtime or the server's ETag of the file).
    """

    id: SourceId
    path: str
    size_bytes: int
    duration_ms: Ms
    revision: str
    audio: tuple[AudioTrack, ...] = ()
    subtitles: tuple[SubtitleTrack, ...] = ()
    is_remote: bool = False
    """Its bytes are not a file of the library: a stream address, or a cloud folder mounted as if it were a disk."""

    @property
    def folder(self) -> str:
        """Where it lies, with forward slashes."""
        return self.path.replace("\\", "/").rpartition("/")[0]

    @property
    def stem(self) -> str:
        """File name without folder and extension: what its sidecars start with."""
        return stem_of(self.path)


def stem_of(path: str) -> str:
    """Name of a media file without folder and extension, whichever slashes its library uses."""
    name = path.replace("\\", "/").rsplit("/", 1)[-1]
    return name.rsplit(".", 1)[0] if "." in name[1:] else name


class ItemKind(StrEnum):
    """What sort of thing is watched."""

    MOVIE = "movie"
    EPISODE = "episode"
    VIDEO = "video"


@dataclass(frozen=True, slots=True)
class Item:
    """One film or episode with all its versions.

    Attributes:
        etag: Changes with every save of the item in its library.
        added_at: When it came into the library, UTC; the file's own time where nothing better is known.
        original_language: What the library says the work was made in.
    """

    server_id: ServerId
    id: ItemId
    name: str
    kind: ItemKind
    library: str
    etag: str
    added_at: datetime
    sources: tuple[MediaSource, ...]
    original_language: LanguageTag | None = None
    series: str = ""
    series_id: str = ""
    season: int | None = None
    episode: int | None = None
    tags: tuple[str, ...] = ()
    collections: tuple[str, ...] = ()
    skipped: str = ""
    """Why nothing is done with this item at all; empty for an ordinary one."""
    broken: str = ""
    """Why its media cannot be read, with what to do; it is looked at again each time. Empty for an ordinary one."""
    is_folder: bool = False
    """A series or season: its episodes are meant."""
    is_probe_pending: bool = False
    """Whether the library has not read its streams yet: it is looked at again whether or not it seems changed."""

    def source(self, source_id: SourceId) -> MediaSource | None:
        """The media source of that id, if this item still has it."""
        return next((source for source in self.sources if source.id == source_id), None)


@dataclass(frozen=True, slots=True)
class Library:
    """One library of a server.

    Attributes:
        id: The server's own id of it.
    """

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """Who answered."""

    id: ServerId
    name: str
    version: str


@dataclass(frozen=True, slots=True)
class MediaIdentity:
    """What tells one media file from another without its name.

    Attributes:
        fingerprint: Hash over size, duration and three ranged reads.
    """

    fingerprint: Fingerprint
    size_bytes: int
    duration_ms: Ms


@dataclass(frozen=True, slots=True)
class FinishedTrack:
    """A subtitle ready to be delivered.

    Attributes:
        extension: Without the dot.
        content_hash: Over `content`.
    """

    target: LanguageTag
    marker: str
    extension: str
    content: bytes
    content_hash: ContentHash

    def file_name(self, stem: str) -> str:
        """`<stem>.<marker>.<lang>.<ext>`: the marker left of the language, so that every server reads both."""
        return f"{stem}.{self.marker}.{self.target.file_suffix}.{self.extension}"
