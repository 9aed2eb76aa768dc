"""The server's JSON to our values; pure, and never trusting that a field is there.

Source: server contract 3.2 to 3.5, 4.1 to 4.5.
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

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
from fluxcaption.domain.playback import CHECK_IN_WITHIN, Playing
from fluxcaption.domain.sidecars import suffix_of
from fluxcaption.domain.track_titles import apply_title, is_commentary_title
from fluxcaption.domain.units import ItemId, Ms, ServerId, SourceId

TICKS_PER_MS = 10_000
LIBRARY_TYPES = frozenset({"movies", "tvshows", "homevideos", "musicvideos", "mixed", ""})
KINDS = ("Movie", "Episode", "Video", "MusicVideo")
"""What is captioned; everything else of a library is passed over."""

FOLDERS = frozenset({"Series", "Season", "BoxSet", "Folder"})
FOLDER_RIPS = frozenset({"Dvd", "BluRay", "Iso"})
_ID = re.compile(r"[0-9a-f]{32}")
Json = Mapping[str, Any]

UNREADABLE = "the server describes it in a way that cannot be read"


class UnreadableField(ValueError):
    """A field of an answer is of another kind than the server's own documents say."""


def is_id(text: str) -> bool:
    """Whether a text is an id as the server spells it: anything else would drop the filter it is used in."""
    return bool(_ID.fullmatch(text))


def read_libraries(folders: Sequence[Json]) -> Sequence[Library]:
    """The libraries that can hold films or episodes."""
    found = []
    for folder in folders:
        options = folder.get("LibraryOptions")
        is_enabled = options.get("Enabled", True) if isinstance(options, Mapping) else True
        if (
            _text(folder.get("CollectionType")).lower() in LIBRARY_TYPES
            and is_enabled
            and is_id(str(folder.get("ItemId", "")))
        ):
            found.append(Library(str(folder["ItemId"]), _text(folder.get("Name"))))
    return found


def read_item(
    value: Json,
    library: str = "",
    collections: Mapping[str, tuple[str, ...]] | None = None,
    series_tags: Mapping[str, tuple[str, ...]] | None = None,
) -> Item:
    """One item with all its versions; `collections` names those that each id is in, `series_tags` what each series is marked with.

    One that is described wrongly is passed over with its reason, so that it holds up no others, and looked at again.
    """
    sources, unreadable = _read_sources(value)
    return Item(
        server_id=ServerId(_text(value.get("ServerId"))),
        id=ItemId(str(value["Id"])),
        name=read_title(value),
        kind={"Movie": ItemKind.MOVIE, "Episode": ItemKind.EPISODE}.get(
            str(value.get("Type")), ItemKind.VIDEO
        ),
        library=library,
        etag=read_etag(value, collections or {}, series_tags or {}),
        added_at=read_time(value.get("DateCreated")),
        sources=sources,
        original_language=normalize(_text(value.get("OriginalLanguage"))),
        series=_text(value.get("SeriesName")),
        series_id=_text(value.get("SeriesId")),
        season=_number(value.get("ParentIndexNumber")),
        episode=_number(value.get("IndexNumber")),
        tags=read_tags(value) + (series_tags or {}).get(str(value.get("SeriesId")), ()),
        collections=_collections_of(value, collections or {}),
        skipped=f"{UNREADABLE} ({unreadable})" if unreadable else why_skipped(value, sources),
        is_folder=str(value.get("Type")) in FOLDERS,
        # A stream address has none before somebody plays it.
        is_probe_pending=bool(unreadable)
        or (not _has_streams(value, sources) and not any(source.is_remote for source in sources)),
    )


def read_etag(
    value: Json, collections: Mapping[str, tuple[str, ...]], series_tags: Mapping[str, tuple[str, ...]]
) -> str:
    """What changes with every save of an item; what rules ask of collections and of its series saves nothing in it, so that is part of it."""
    return " ".join(
        [
            _text(value.get("Etag")),
            *sorted(_collections_of(value, collections)),
            *series_tags.get(str(value.get("SeriesId")), ()),
        ]
    )


def _collections_of(value: Json, collections: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Those of the item itself and those of its series."""
    return tuple(
        name for part in (value.get("Id"), value.get("SeriesId")) for name in collections.get(str(part), ())
    )


def _read_sources(value: Json) -> tuple[tuple[MediaSource, ...], str]:
    """All versions, and what is wrong with the description of one: that one has no tracks then."""
    sources: list[MediaSource] = []
    unreadable = ""
    try:
        described = _rows(value, "MediaSources")
    except UnreadableField as error:
        return (), str(error)
    for source in described:
        if not is_id(str(source.get("Id", ""))):
            continue
        try:
            sources.append(read_source(source))
        except UnreadableField as error:
            unreadable = str(error)
            sources.append(MediaSource(SourceId(str(source["Id"])), _text(source.get("Path")), 0, Ms(0), ""))
    return tuple(sources), unreadable


def read_tags(value: Json) -> tuple[str, ...]:
    """What an item is marked with by people."""
    tags = value.get("Tags")
    return tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else ()


def read_title(value: Json) -> str:
    """A title as people say it: an episode with its series and number."""
    name = _text(value.get("Name"))
    series, season, number = value.get("SeriesName"), value.get("ParentIndexNumber"), value.get("IndexNumber")
    if not series:
        return name
    place = f" S{season:02d}E{number:02d}" if isinstance(season, int) and isinstance(number, int) else ""
    return f"{series}{place} {name}"


def why_skipped(value: Json, sources: Sequence[MediaSource]) -> str:
    """Why nothing is done with an item; empty for an ordinary one."""
    raw = _rows(value, "MediaSources")
    kind = str(value.get("Type", KINDS[0]))
    if kind not in KINDS and kind not in FOLDERS:
        return f"it is no film, episode or video ({kind})"
    if value.get("LocationType") == "Virtual" or value.get("IsPlaceHolder"):
        return "it is not in the library yet (a virtual item)"
    if value.get("ExtraType"):
        return f"it is an extra ({value['ExtraType']})"
    if str(value.get("VideoType")) in FOLDER_RIPS:
        return "it is a disc folder: the server gives no direct stream of it"
    if any(source.get("Type") == "Placeholder" for source in raw):
        return "it is a placeholder"
    if not _has_streams(value, sources) and not any(source.is_remote for source in sources):
        return "the server has not read its streams yet: it is looked at again with the next scan"
    return ""


def _has_streams(value: Json, sources: Sequence[MediaSource]) -> bool:
    raw = _rows(value, "MediaSources")
    return any(source.audio for source in sources) or any(
        stream.get("Type") == "Video" for source in raw for stream in _rows(source, "MediaStreams")
    )


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _rows(value: Json, name: str) -> Sequence[Json]:
    """A field that lists objects; none of them is left out, since tracks are counted."""
    rows = value.get(name)
    if rows is None:
        return ()
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise UnreadableField(f"{name} is no list of objects")
    return rows


def _whole(value: Json, name: str) -> int:
    """A field that counts something; 0 where the server has not filled it."""
    count = value.get(name)
    if count is None:
        return 0
    if _number(count) is None:
        raise UnreadableField(f"{name} is no whole number")
    return int(count)


def read_source(value: Json) -> MediaSource:
    """One version with its tracks; positions are counted among embedded streams, never taken from `Index`."""
    streams = _rows(value, "MediaStreams")
    audio = [stream for stream in streams if stream.get("Type") == "Audio" and not stream.get("IsExternal")]
    subtitles = [
        (stream, ordinal)
        for stream, ordinal in zip(streams, _subtitle_ordinals(streams), strict=True)
        if stream.get("Type") == "Subtitle"
    ]
    path = _text(value.get("Path"))
    size_bytes = _whole(value, "Size")
    return MediaSource(
        id=SourceId(str(value["Id"])),
        path=path,
        size_bytes=size_bytes,
        duration_ms=Ms(_whole(value, "RunTimeTicks") // TICKS_PER_MS),
        revision=f"{_text(value.get('ETag'))}-{size_bytes}",
        audio=tuple(_audio(ordinal, stream) for ordinal, stream in enumerate(audio)),
        subtitles=tuple(_subtitle(stream, ordinal, stem_of(path)) for stream, ordinal in subtitles),
        is_remote=(value.get("Protocol") or "File") != "File" or path.lower().endswith(".strm"),
    )


def _audio(ordinal: int, stream: Json) -> AudioTrack:
    title = _text(stream.get("Title"))
    return AudioTrack(
        ordinal=ordinal,
        language=normalize(_text(stream.get("Language"))),
        title=title,
        codec=_text(stream.get("Codec")),
        is_default=bool(stream.get("IsDefault")),
        is_original=bool(stream.get("IsOriginal")),
        is_commentary=is_commentary_title(title),
    )


def _subtitle_ordinals(streams: Sequence[Json]) -> Sequence[int]:
    """Each stream's position among the subtitles inside the file, as it counts for those.

    By `Index`, not by counting: a library can hide embedded subtitles from its answers, and those alone leave holes in the numbers (3.2, 4.3).
    """
    numbers = [
        place if (number := _number(stream.get("Index"))) is None else number
        for place, stream in enumerate(streams)
    ]
    inside = [not stream.get("IsExternal") for stream in streams]
    first = min(itertools.compress(numbers, inside), default=0)
    others = [
        number
        for number, stream, is_inside in zip(numbers, streams, inside, strict=True)
        if number >= first and not (is_inside and stream.get("Type") == "Subtitle")
    ]
    return [number - first - sum(other < number for other in others) for number in numbers]


def _subtitle(stream: Json, ordinal: int, stem: str) -> SubtitleTrack:
    title = _text(stream.get("Title"))
    codec = _text(stream.get("Codec")).lower()
    is_external = bool(stream.get("IsExternal"))
    path = _text(stream.get("Path")) if is_external else None
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
    """What the server says; where an older one left the code in a sidecar's title, the right-most word that is one."""
    language = normalize(_text(stream.get("Language")))
    if language is None and path is not None:
        language = next(
            (tag for token in reversed(title.split(".")) if (tag := normalize(token)) is not None), None
        )
    return language


def read_time(text: object) -> datetime:
    """A server time; up to seven digits of a second, which no Python reads."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,7}))?Z?", str(text or ""))
    if match is None:
        return datetime(1970, 1, 1, tzinfo=UTC)
    micro = int((match[2] or "0").ljust(6, "0")[:6])
    return datetime.fromisoformat(match[1]).replace(microsecond=micro, tzinfo=UTC)


def read_version(text: object) -> tuple[int, int, int]:
    """`10.11.7` as numbers; what is missing is 0."""
    numbers = [int(part) for part in re.findall(r"\d+", str(text or ""))[:3]]
    first, second, third, *_ = [*numbers, 0, 0, 0]
    return first, second, third


def read_playing(sessions: Sequence[Json], server_date: str) -> Sequence[Playing]:
    """What is being watched: something is on, and the client has reported within 90 s by the server's own clock (11)."""
    now = read_date(server_date) or datetime.now(UTC)
    found = []
    for session in sessions:
        item = session.get("NowPlayingItem")
        if not isinstance(item, Mapping) or not is_id(str(item.get("Id", ""))):
            continue
        if now - read_time(session.get("LastPlaybackCheckIn")) > CHECK_IN_WITHIN:
            continue
        source = str((session.get("PlayState") or {}).get("MediaSourceId") or item["Id"])
        found.append(Playing(ItemId(str(item["Id"])), SourceId(source), now))
    return found


def read_date(header: str) -> datetime | None:
    """The server's own clock, as the header `Date` of an answer tells it."""
    try:
        return parsedate_to_datetime(header).astimezone(UTC)
    except (TypeError, ValueError):
        return None
