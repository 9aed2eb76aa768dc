"""What a fake server holds: items, their versions, streams and sidecars."""

import hashlib
import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.fakes.jellyfin.names import Version, on_read, read_name

SERVER_ID = "81ea6ae80e18429d96f4f383a4d5c813"
ASKED_FOR = frozenset(
    {
        "Path",
        "MediaSources",
        "MediaStreams",
        "ProviderIds",
        "DateCreated",
        "Etag",
        "Overview",
        "Genres",
        "Tags",
        "OriginalTitle",
        "SortName",
        "ParentId",
    }
)
"""Fields that come only when asked for."""

_serial = itertools.count(1)


def new_id(text: str) -> str:
    """An id as the server makes them: a hash of type and path."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def audio(language: str | None = "eng", **more: Any) -> dict[str, Any]:
    """An embedded sound stream."""
    return {
        "Type": "Audio",
        "Codec": "opus",
        "IsDefault": True,
        "IsForced": False,
        "IsHearingImpaired": False,
        "IsExternal": False,
        "Channels": 1,
        **({"Language": language} if language else {}),
        **more,
    }


def text(language: str | None = "eng", codec: str = "subrip", **more: Any) -> dict[str, Any]:
    """An embedded text stream."""
    return {
        "Type": "Subtitle",
        "Codec": codec,
        "IsDefault": False,
        "IsForced": False,
        "IsHearingImpaired": False,
        "IsExternal": False,
        **({"Language": language} if language else {}),
        **more,
    }


VIDEO = {
    "Type": "Video",
    "Codec": "h264",
    "IsDefault": True,
    "IsForced": False,
    "IsHearingImpaired": False,
    "IsExternal": False,
    "Height": 180,
    "Width": 320,
}


PUNCTUATION = " _-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$"


def culture_order(name: str) -> tuple[list[tuple[int, str]], str]:
    """How a server sorts paths: signs, then digits, then letters, case last (notes/jellyfin-server.md J19)."""
    ranks = [(PUNCTUATION.find(sign), sign) if sign in PUNCTUATION else (100, sign) for sign in name.lower()]
    return ranks, name.swapcase()


@dataclass
class Source:
    """One version of an item."""

    id: str
    path: str
    streams: list[dict[str, Any]]
    size: int = 1000
    ticks: int = 600_000_000
    etag: str = ""
    file: Path | None = None
    sidecars: dict[str, bytes] = field(default_factory=dict)
    unlisted: set[str] = field(default_factory=set)
    in_metadata: set[str] = field(default_factory=set)
    """Sidecars that lie in the server's metadata folder instead of beside the media (notes/jellyfin-server.md J31)."""
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def stem(self) -> str:
        return self.path.rsplit("/", 1)[-1].rsplit(".", 1)[0]

    @property
    def folder(self) -> str:
        return self.path.rsplit("/", 1)[0]

    def look_at_disk(self) -> None:
        """Take sidecars as they lie beside a real file."""
        if self.file is None:
            return
        self.sidecars = {
            name.name: name.read_bytes()
            for name in sorted(self.file.parent.iterdir())
            if name != self.file
            and name.name.startswith(self.stem + ".")
            and not name.name.startswith(".")
            and name.stat().st_size
        }

    def all_streams(self, version: Version) -> list[dict[str, Any]]:
        """External tracks first, then the embedded ones, numbered by position; what the library hides leaves holes (notes/jellyfin-server.md J18)."""
        streams = []
        for name in sorted(self.sidecars, key=lambda name: (name in self.in_metadata, culture_order(name))):
            if name in self.unlisted:
                continue
            folder = (
                f"/config/data/metadata/library/{self.id[:2]}/{self.id}"
                if name in self.in_metadata
                else self.folder
            )
            facts = read_name(self.stem, name, version)
            if facts is not None and self.sidecars[name].strip():
                streams.append(
                    {
                        **facts,
                        "Type": "Subtitle",
                        "IsExternal": True,
                        "IsTextSubtitleStream": True,
                        "SupportsExternalStream": True,
                        "Path": f"{folder}/{name}",
                    }
                )
        streams += [dict(stream) for stream in self.streams]
        for index, stream in enumerate(streams):
            stream["Index"] = index
            stream["Language"] = on_read(stream.get("Language"), version)
            is_text = stream["Type"] == "Subtitle" and not any(
                word in str(stream.get("Codec", "")).lower() for word in ("pgs", "dvdsub", "vobsub", "dvbsub")
            )
            stream.setdefault("IsTextSubtitleStream", is_text)
            stream.setdefault("SupportsExternalStream", is_text)
            stream.setdefault("IsInterlaced", False)
            stream.setdefault("VideoRange", "Unknown")
            stream.setdefault("VideoRangeType", "Unknown")
            stream.setdefault("AudioSpatialFormat", "None")
            if version >= (12, 0, 0):
                stream.setdefault("IsOriginal", False)
        return [
            {name: value for name, value in stream.items() if value is not None}
            for stream in streams
            if not stream.get("IsHidden")
        ]


@dataclass
class FakeItem:
    """One row of a library."""

    id: str
    library: str
    kind: str
    name: str
    sources: list[Source]
    added: datetime
    saved: datetime
    etag_salt: int = 0
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def etag(self) -> str:
        return new_id(f"{self.saved.isoformat()}{self.etag_salt}")

    def touch(self, now: datetime) -> None:
        """The server saved it."""
        self.saved = now
        self.etag_salt = next(_serial)

    def dto(self, fields: set[str], version: Version) -> dict[str, Any]:
        """The item as an answer holds it; what is not asked for is absent."""
        first = self.sources[0] if self.sources else None
        value: dict[str, Any] = {
            "Name": self.name,
            "ServerId": SERVER_ID,
            "Id": self.id,
            "ChannelId": None,
            "IsFolder": False,
            "Type": self.kind,
            "MediaType": "Video",
            "LocationType": "FileSystem",
            "VideoType": "VideoFile",
            "BackdropImageTags": [],
            "ImageTags": {},
            "ImageBlurHashes": {},
        }
        if first:
            value |= {"RunTimeTicks": first.ticks, "Container": first.path.rsplit(".", 1)[-1]}
            if any(stream["Type"] == "Subtitle" for stream in first.all_streams(version)):
                value["HasSubtitles"] = True
        value |= {name: part for name, part in self.extra.items() if name not in ASKED_FOR or name in fields}
        if "Path" in fields and first:
            value["Path"] = first.path
        if "Etag" in fields:
            value["Etag"] = self.etag
        if "DateCreated" in fields:
            value["DateCreated"] = self.added.strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"
        if "ProviderIds" in fields:
            value.setdefault("ProviderIds", {})
        if "MediaSources" in fields:
            value["MediaSources"] = [self._source(source, version) for source in self.sources]
        return value

    @staticmethod
    def _source(source: Source, version: Version) -> dict[str, Any]:
        base = {
            "Protocol": "File",
            "Id": source.id,
            "Path": source.path,
            "Type": "Default",
            "Container": source.path.rsplit(".", 1)[-1],
            "Size": source.size,
            "Name": source.stem,
            "IsRemote": False,
            "ETag": source.etag or new_id(f"{source.path}{source.size}"),
            "RunTimeTicks": source.ticks,
            "VideoType": "VideoFile",
            "MediaAttachments": [],
            "Formats": [],
            "RequiredHttpHeaders": {},
        }
        return {**base, **source.extra, "MediaStreams": source.all_streams(version)}


def film(
    name: str,
    streams: list[dict[str, Any]],
    *,
    library: str,
    file: Path | None = None,
    added: datetime | None = None,
    minutes: float = 1.0,
    now: datetime | None = None,
) -> FakeItem:
    """A film with one version."""
    path = f"/media/movies/{name}/{name}.mkv"
    item_id = new_id(f"Movie{path}")
    now = now or datetime.now(UTC)
    source = Source(
        item_id,
        path,
        [VIDEO, *streams],
        size=file.stat().st_size if file else 1000 + len(name),
        ticks=int(minutes * 60 * 10_000_000),
        etag=new_id(f"{file.stat().st_mtime_ns}") if file else "",
        file=file,
    )
    source.look_at_disk()
    return FakeItem(item_id, library, "Movie", name, [source], added or now - timedelta(days=1), now)
