"""Items, their media sources and the tracks in them, as every library adapter describes them."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.units import ContentHash, Fingerprint, ItemId, Ms, ServerId, SourceId

TEXT_CODECS = frozenset(
    {"subrip", "srt", "ass", "ssa", "mov_text", "webvtt", "vtt", "text", "ttml", "sami", "microdvd"}
)
"""Subtitle codecs that carry text; teletext (dvbtxt) and images (pgs, vobsub, dvb) do not count."""

_IMAGE_CODECS = ("pgs", "dvdsub", "vobsub", "dvbsub", "xsub", "dvbtxt", "teletext")


def is_picture_codec(codec: str) -> bool:
    """Return True if a subtitle codec carries images or teletext, in the spelling of any server."""
    name = codec.lower().replace("_", "")
    return name in {"sub", "sup"} or any(image_codec in name for image_codec in _IMAGE_CODECS)


@dataclass(frozen=True, slots=True)
class AudioTrack:
    """One audio track inside a media file.

    Attributes:
        ordinal: Position among the embedded audio tracks, from 0 (`0:a:<ordinal>` of ffmpeg).
        language: Language in the file, normalized; None if the file names none.
        is_original: True if the track is flagged as the original language.
        is_commentary: True for a commentary or audio description, by disposition or title.
    """

    ordinal: int
    language: LanguageTag | None
    title: str = ""
    codec: str = ""
    is_default: bool = False
    is_original: bool = False
    is_commentary: bool = False


@dataclass(frozen=True, slots=True)
class SubtitleTrack:
    """One subtitle track, embedded or a file beside the media.

    Attributes:
        handle: Reference of the adapter that listed the track; valid only within the same answer.
        language: Language by tag, name or content; None if unknown.
        ordinal: Position among the embedded subtitle tracks, from 0; None for an external track.
        path: Path of an external track, in the spelling of its library; None for an embedded track.
        suffix: Part of an external track's name after the name of its media: `fluxcaption.de.srt`.
        is_signs: True if the title says that the track has only signs or song texts.
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

    @property
    def key(self) -> str:
        """Return the identity of the track in its media source, independent of its index in an answer."""
        return self.path or f"embedded {self.ordinal} {self.codec} {self.title}"

    @property
    def has_full_dialogue(self) -> bool:
        """Return True if the track has the whole dialogue as text, in any language."""
        return self.is_text and not self.is_forced and not self.is_commentary and not self.is_signs

    @property
    def is_external(self) -> bool:
        """Return True if the track is a file of its own."""
        return self.ordinal is None

    @property
    def label(self) -> str:
        """Return the name of the track in a sentence: `Film.de.srt`, `embedded track 1`."""
        return self.file_name if self.is_external else f"embedded track {(self.ordinal or 0) + 1}"

    @property
    def file_name(self) -> str:
        """Return the name of an external track without its folder, for both kinds of slashes."""
        return _with_forward_slashes(self.path or "").rsplit("/", 1)[-1]

    @property
    def folder(self) -> str:
        """Return the folder of an external track, with forward slashes."""
        return _with_forward_slashes(self.path or "").rpartition("/")[0]


@dataclass(frozen=True, slots=True)
class MediaSource:
    """One file or version of an item.

    Attributes:
        path: Path in the spelling of the library.
        revision: Value that changes with the bytes (an mtime or the server's ETag of the file).
        is_remote: True if the bytes are no file of the library: a stream address or a mounted cloud folder.
    """

    id: SourceId
    path: str
    size_bytes: int
    duration_ms: Ms
    revision: str
    audio: tuple[AudioTrack, ...] = ()
    subtitles: tuple[SubtitleTrack, ...] = ()
    is_remote: bool = False

    @property
    def folder(self) -> str:
        """Return the folder of the file, with forward slashes."""
        return _with_forward_slashes(self.path).rpartition("/")[0]

    @property
    def stem(self) -> str:
        """Return the file name without folder and extension, with which the names of sidecars begin."""
        return stem_of(self.path)


def stem_of(path: str) -> str:
    """Return the name of a media file without folder and extension, for both kinds of slashes."""
    name = _with_forward_slashes(path).rsplit("/", 1)[-1]
    return name.rsplit(".", 1)[0] if "." in name[1:] else name


def _with_forward_slashes(path: str) -> str:
    return path.replace("\\", "/")


class ItemKind(StrEnum):
    """Kind of an item."""

    MOVIE = "movie"
    EPISODE = "episode"
    VIDEO = "video"


@dataclass(frozen=True, slots=True)
class Item:
    """One film, episode or video with all its versions.

    Attributes:
        library: Name of the library.
        etag: Value that changes with every save of the item in its library.
        added_at: Moment the item came into the library, UTC; the time of the file if the library has none.
        original_language: Language the work was made in, according to the library.
        skipped: Reason to do nothing with the item; empty for an ordinary item.
        broken: Reason and fix for media that cannot be read; empty for readable media. Every scan reads the
            media again.
        is_folder: True for a series or season, which stands for its episodes.
        is_probe_pending: True if the library has not read the streams yet; every scan reads the item.
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
    broken: str = ""
    is_folder: bool = False
    is_probe_pending: bool = False

    def source(self, source_id: SourceId) -> MediaSource | None:
        """Return the media source with that id, or None if the item has no such version."""
        return next((source for source in self.sources if source.id == source_id), None)


@dataclass(frozen=True, slots=True)
class Library:
    """One library of a server.

    Attributes:
        id: Id on the server.
    """

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """Identity of the server that answered."""

    id: ServerId
    name: str
    version: str


@dataclass(frozen=True, slots=True)
class MediaIdentity:
    """Identity of a media file, independent of its name.

    Attributes:
        fingerprint: Hash over size, duration and three ranged reads.
    """

    fingerprint: Fingerprint
    size_bytes: int
    duration_ms: Ms


@dataclass(frozen=True, slots=True)
class FinishedTrack:
    """Subtitle file that is ready for delivery.

    Attributes:
        marker: Name under which the track is recognized as made by FluxCaption.
        extension: File extension without the dot.
        content: Bytes of the file.
        content_hash: Hash over `content`.
    """

    target: LanguageTag
    marker: str
    extension: str
    content: bytes
    content_hash: ContentHash

    def file_name(self, stem: str) -> str:
        """Return `<stem>.<marker>.<language>.<extension>`; servers read a title only left of the language."""
        return f"{stem}.{self.marker}.{self.target.file_suffix}.{self.extension}"
