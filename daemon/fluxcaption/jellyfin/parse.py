"""Conversion of the server's JSON to domain values; pure, and without trust in the type of any field.

Source: notes/jellyfin-server.md J7 to J14, J17 to J20.
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from fluxcaption.domain.language import LanguageTag, normalize
from fluxcaption.domain.media import (
    AudioTrack,
    Item,
    ItemKind,
    Library,
    MediaSource,
    SubtitleTrack,
    is_picture_codec,
    stem_of,
)
from fluxcaption.domain.playback import Playing
from fluxcaption.domain.sidecars import suffix_of
from fluxcaption.domain.track_titles import apply_title, is_commentary_title
from fluxcaption.domain.units import ItemId, Ms, ServerId, SourceId
from fluxcaption.jellyfin.json_fields import (
    Json,
    UnreadableField,
    as_int,
    as_object,
    as_text,
    as_texts,
    is_id,
    strict_count,
    strict_objects,
)

TICKS_PER_MS = 10_000
LIBRARY_TYPES = frozenset({"movies", "tvshows", "homevideos", "musicvideos", "mixed", ""})
KINDS = ("Movie", "Episode", "Video", "MusicVideo")
"""Item types that get subtitles."""

FOLDERS = frozenset({"Series", "Season", "BoxSet", "Folder"})
FOLDER_RIPS = frozenset({"Dvd", "BluRay", "Iso"})
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
UNREADABLE = "the server's description of this item cannot be parsed"
PLAYBACK_ACTIVITIES = frozenset({"VideoPlayback", "VideoPlaybackStopped"})
MAX_CHECK_IN_AGE = timedelta(seconds=90)
"""A listed session whose client reported longer ago has ended (notes/jellyfin-server.md J47)."""

TextsById = Mapping[str, tuple[str, ...]]
"""Names or tags by the id of an item or a series."""


def read_libraries(folders: Sequence[Json]) -> Sequence[Library]:
    """Return the enabled libraries whose type can hold films or episodes."""
    return [
        Library(str(folder["ItemId"]), as_text(folder.get("Name")))
        for folder in folders
        if as_text(folder.get("CollectionType")).lower() in LIBRARY_TYPES
        and as_object(folder.get("LibraryOptions")).get("Enabled", True)
        and is_id(str(folder.get("ItemId", "")))
    ]


def read_item(
    value: Json,
    library: str = "",
    collections: TextsById | None = None,
    series_tags: TextsById | None = None,
) -> Item:
    """Return one item with all its versions.

    An item whose description cannot be parsed gets a skip reason instead of an error, so that the other items
    of the page are still read, and stays marked for another read.

    Args:
        value: A row of `/Items` with a valid id.
        library: Name of the library that contains the item.
        collections: Collections that contain an item or series, by its id.
        series_tags: Tags of each series, by its id.
    """
    collections, series_tags = collections or {}, series_tags or {}
    sources, fault = _read_sources(value)
    return Item(
        server_id=ServerId(as_text(value.get("ServerId"))),
        id=ItemId(str(value["Id"])),
        name=read_title(value),
        kind={"Movie": ItemKind.MOVIE, "Episode": ItemKind.EPISODE}.get(
            str(value.get("Type")), ItemKind.VIDEO
        ),
        library=library,
        etag=read_etag(value, collections, series_tags),
        added_at=read_time(value.get("DateCreated")),
        sources=sources,
        original_language=normalize(as_text(value.get("OriginalLanguage"))),
        series=as_text(value.get("SeriesName")),
        series_id=as_text(value.get("SeriesId")),
        season=as_int(value.get("ParentIndexNumber")),
        episode=as_int(value.get("IndexNumber")),
        tags=read_tags(value) + series_tags.get(str(value.get("SeriesId")), ()),
        collections=_collections_of(value, collections),
        skipped=f"{UNREADABLE} ({fault})" if fault else skip_reason(value, sources),
        is_folder=str(value.get("Type")) in FOLDERS,
        is_probe_pending=bool(fault) or _lacks_streams(value, sources),
    )


def read_etag(value: Json, collections: TextsById, series_tags: TextsById) -> str:
    """Return a text that changes with every save of an item, with its collections and with its series' tags.

    The server's own Etag does not change with the collections and the series, but rules can refer to them.
    """
    return " ".join(
        [
            as_text(value.get("Etag")),
            *sorted(_collections_of(value, collections)),
            *series_tags.get(str(value.get("SeriesId")), ()),
        ]
    )


def _collections_of(value: Json, collections: TextsById) -> tuple[str, ...]:
    """Return the collections that contain the item or its series."""
    ids = (str(value.get("Id")), str(value.get("SeriesId")))
    return tuple(name for item_id in ids for name in collections.get(item_id, ()))


def _read_sources(value: Json) -> tuple[tuple[MediaSource, ...], str]:
    """Return all versions, and the fault in a description; a version with a fault has no tracks."""
    sources: list[MediaSource] = []
    fault = ""
    try:
        rows = strict_objects(value, "MediaSources")
    except UnreadableField as error:
        return (), str(error)
    for row in rows:
        if not is_id(str(row.get("Id", ""))):
            continue
        try:
            sources.append(read_source(row))
        except UnreadableField as error:
            fault = str(error)
            sources.append(MediaSource(SourceId(str(row["Id"])), as_text(row.get("Path")), 0, Ms(0), ""))
    return tuple(sources), fault


def read_tags(value: Json) -> tuple[str, ...]:
    """Return the tags that users gave an item."""
    return tuple(as_texts(value.get("Tags")))


def read_title(value: Json) -> str:
    """Return the display title; an episode's title has the series and the number in front."""
    name = as_text(value.get("Name"))
    series, season, number = value.get("SeriesName"), value.get("ParentIndexNumber"), value.get("IndexNumber")
    if not series:
        return name
    position = f" S{season:02d}E{number:02d}" if isinstance(season, int) and isinstance(number, int) else ""
    return f"{series}{position} {name}"


def skip_reason(value: Json, sources: Sequence[MediaSource]) -> str:
    """Return the reason why an item gets no subtitles; empty for an ordinary item."""
    kind = str(value.get("Type", KINDS[0]))
    if kind not in KINDS and kind not in FOLDERS:
        return f"the item is not a film, episode or video ({kind})"
    if value.get("LocationType") == "Virtual" or value.get("IsPlaceHolder"):
        return "the item is a virtual item: its media is not in the library yet"
    if value.get("ExtraType"):
        return f"the item is an extra ({value['ExtraType']})"
    if str(value.get("VideoType")) in FOLDER_RIPS:
        return "the item is a disc folder, which the server cannot stream as one file"
    if any(row.get("Type") == "Placeholder" for row in strict_objects(value, "MediaSources")):
        return "the item is a placeholder"
    if _lacks_streams(value, sources):
        return "the server has not probed the streams of the item yet; the next scan reads it again"
    return ""


def _lacks_streams(value: Json, sources: Sequence[MediaSource]) -> bool:
    """Return True if the server has not listed streams where it lists them before the first playback."""
    if any(source.audio or source.is_remote for source in sources):
        return False
    return not any(
        stream.get("Type") == "Video"
        for row in strict_objects(value, "MediaSources")
        for stream in strict_objects(row, "MediaStreams")
    )


def read_source(value: Json) -> MediaSource:
    """Return one version with its tracks; a track's ordinal counts embedded streams and is not `Index`.

    Raises:
        UnreadableField: The streams, the size or the duration cannot be read.
    """
    streams = strict_objects(value, "MediaStreams")
    audio = [stream for stream in streams if stream.get("Type") == "Audio" and not stream.get("IsExternal")]
    path = as_text(value.get("Path"))
    size_bytes = strict_count(value, "Size")
    return MediaSource(
        id=SourceId(str(value["Id"])),
        path=path,
        size_bytes=size_bytes,
        duration_ms=Ms(strict_count(value, "RunTimeTicks") // TICKS_PER_MS),
        revision=f"{as_text(value.get('ETag'))}-{size_bytes}",
        audio=tuple(_audio_track(ordinal, stream) for ordinal, stream in enumerate(audio)),
        subtitles=tuple(
            _subtitle_track(stream, ordinal, stem_of(path))
            for stream, ordinal in zip(streams, _embedded_subtitle_ordinals(streams), strict=True)
            if stream.get("Type") == "Subtitle"
        ),
        is_remote=(value.get("Protocol") or "File") != "File" or path.lower().endswith(".strm"),
    )


def _audio_track(ordinal: int, stream: Json) -> AudioTrack:
    title = as_text(stream.get("Title"))
    return AudioTrack(
        ordinal=ordinal,
        language=normalize(as_text(stream.get("Language"))),
        title=title,
        codec=as_text(stream.get("Codec")),
        is_default=bool(stream.get("IsDefault")),
        is_original=bool(stream.get("IsOriginal")),
        is_commentary=is_commentary_title(title),
    )


def _embedded_subtitle_ordinals(streams: Sequence[Json]) -> Sequence[int]:
    """Return each stream's position among the file's subtitle streams; valid for embedded subtitles only.

    The position comes from `Index`, because a library can hide embedded subtitles from its answers, and only
    hidden subtitles leave holes in the numbers (J7, J18).
    """
    indexes = [
        position if (index := as_int(stream.get("Index"))) is None else index
        for position, stream in enumerate(streams)
    ]
    is_embedded = [not stream.get("IsExternal") for stream in streams]
    first = min(itertools.compress(indexes, is_embedded), default=0)
    other_indexes = [
        index
        for index, stream, embedded in zip(indexes, streams, is_embedded, strict=True)
        if index >= first and not (embedded and stream.get("Type") == "Subtitle")
    ]
    return [index - first - sum(other < index for other in other_indexes) for index in indexes]


def _subtitle_track(stream: Json, ordinal: int, stem: str) -> SubtitleTrack:
    title = as_text(stream.get("Title"))
    codec = as_text(stream.get("Codec")).lower()
    is_external = bool(stream.get("IsExternal"))
    path = as_text(stream.get("Path")) if is_external else None
    return apply_title(
        SubtitleTrack(
            handle=str(stream.get("Index", "")),
            language=_subtitle_language(stream, title, path),
            codec=codec,
            title=title,
            ordinal=None if is_external else ordinal,
            path=path,
            suffix=suffix_of(stem, path.replace("\\", "/").rsplit("/", 1)[-1]) if path else "",
            is_forced=bool(stream.get("IsForced")),
            is_hearing_impaired=bool(stream.get("IsHearingImpaired")),
            is_text=stream.get("IsTextSubtitleStream") is not False and not is_picture_codec(codec),
        )
    )


def _subtitle_language(stream: Json, title: str, path: str | None) -> LanguageTag | None:
    """Return the stream's language, or the right-most language code in the title of a sidecar.

    Older servers leave an unknown code in the title instead of the language.
    """
    language = normalize(as_text(stream.get("Language")))
    if language is None and path is not None:
        language = next(
            (tag for token in reversed(title.split(".")) if (tag := normalize(token)) is not None), None
        )
    return language


def read_time(text: object) -> datetime:
    """Return a server time; 1970 if unreadable. Python cannot parse the seven digits of a second."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,7}))?Z?", str(text or ""))
    if match is None:
        return EPOCH
    microsecond = int((match[2] or "0").ljust(6, "0")[:6])
    try:
        return datetime.fromisoformat(match[1]).replace(microsecond=microsecond, tzinfo=UTC)
    except ValueError:
        return EPOCH


def write_time(moment: datetime) -> str:
    """Return a time in the spelling that the server accepts in queries."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.0000000Z")


def read_date(header: str) -> datetime | None:
    """Return the server's clock from the `Date` header of an answer; None if unreadable."""
    try:
        return parsedate_to_datetime(header).astimezone(UTC)
    except (TypeError, ValueError):
        return None


def read_playing(sessions: Sequence[Json], server_date: str) -> Sequence[Playing]:
    """Return the playbacks whose client reported within 90 s, by the server's clock (J47)."""
    now = read_date(server_date) or datetime.now(UTC)
    playbacks = []
    for session in sessions:
        item = session.get("NowPlayingItem")
        if not isinstance(item, Mapping) or not is_id(str(item.get("Id", ""))):
            continue
        if now - read_time(session.get("LastPlaybackCheckIn")) > MAX_CHECK_IN_AGE:
            continue
        source = str((session.get("PlayState") or {}).get("MediaSourceId") or item["Id"])
        playbacks.append(Playing(ItemId(str(item["Id"])), SourceId(source), now))
    return playbacks


def read_played(activities: Sequence[Json]) -> Sequence[Playing]:
    """Return the playbacks in the rows of the activity log (J47)."""
    return [
        Playing(ItemId(str(row["ItemId"])), SourceId(str(row["ItemId"])), read_time(row.get("Date")))
        for row in activities
        if row.get("Type") in PLAYBACK_ACTIVITIES and is_id(str(row.get("ItemId", "")))
    ]
