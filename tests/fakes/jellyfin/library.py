"""Items of the fake server with their media sources, streams and sidecars."""

import hashlib
import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.fakes.jellyfin.names import Version, code_on_read, read_name

SERVER_ID = "81ea6ae80e18429d96f4f383a4d5c813"
OPTIONAL_FIELDS = frozenset(
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
"""Fields of an item that an answer has only if the query names them."""

_serial = itertools.count(1)


def new_id(text: str) -> str:
    """Return an id like the server's: the hash of type and path."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def audio(language: str | None = "eng", **fields: Any) -> dict[str, Any]:
    """Return an embedded audio stream."""
    return {
        "Type": "Audio",
        "Codec": "opus",
        "IsDefault": True,
        "IsForced": False,
        "IsHearingImpaired": False,
        "IsExternal": False,
        "Channels": 1,
        **({"Language": language} if language else {}),
        **fields,
    }


def text(language: str | None = "eng", codec: str = "subrip", **fields: Any) -> dict[str, Any]:
    """Return an embedded text stream."""
    return {
        "Type": "Subtitle",
        "Codec": codec,
        "IsDefault": False,
        "IsForced": False,
        "IsHearingImpaired": False,
        "IsExternal": False,
        **({"Language": language} if language else {}),
        **fields,
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
    """Return the sort key of a path: punctuation, digits, letters, then case (J19)."""
    ranks = [
        (PUNCTUATION.find(character) if character in PUNCTUATION else 100, character)
        for character in name.lower()
    ]
    return ranks, name.swapcase()


@dataclass
class Source:
    """One media source: a file or version of an item.

    Attributes:
        size: Size of the media file, in bytes.
        ticks: Duration, in units of 100 ns.
        file: The real media file; None for a source without bytes.
        sidecars: Content by file name.
        unlisted: Names of sidecars that exist and are not listed until a refresh (J37).
        in_metadata: Names of sidecars in the server's metadata folder instead of the media folder (J31).
        extra: Fields of the answer that replace the computed ones.
    """

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
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def stem(self) -> str:
        return self.path.rsplit("/", 1)[-1].rsplit(".", 1)[0]

    @property
    def folder(self) -> str:
        return self.path.rsplit("/", 1)[0]

    def read_folder(self) -> None:
        """Replace the sidecars by the files in the folder of the real media file."""
        if self.file is None:
            return
        self.sidecars = {
            path.name: path.read_bytes()
            for path in sorted(self.file.parent.iterdir())
            if path != self.file
            and path.name.startswith(self.stem + ".")
            and not path.name.startswith(".")
            and path.stat().st_size
        }

    def all_streams(self, version: Version) -> list[dict[str, Any]]:
        """Return the external tracks, then the embedded streams, numbered by position.

        A stream that the library hides leaves a hole in the numbers (notes/jellyfin-server.md J18).
        """
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
            stream["Language"] = code_on_read(stream.get("Language"), version)
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
    """One row of a library.

    Attributes:
        library: Id of the library; empty for an item in none.
        added: Time of the answer's `DateCreated`.
        saved: Last time at which the server saved the item.
        extra: Fields of the answer that replace the computed ones.
    """

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
        """Save the item: change its time and its etag."""
        self.saved = now
        self.etag_salt = next(_serial)

    def dto(self, fields: set[str], version: Version) -> dict[str, Any]:
        """Return the item as an answer has it, without the optional fields that the query does not name."""
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
        value |= {
            name: part for name, part in self.extra.items() if name not in OPTIONAL_FIELDS or name in fields
        }
        if "Path" in fields and first:
            value["Path"] = first.path
        if "Etag" in fields:
            value["Etag"] = self.etag
        if "DateCreated" in fields:
            value["DateCreated"] = self.added.strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"
        if "ProviderIds" in fields:
            value.setdefault("ProviderIds", {})
        if "MediaSources" in fields:
            value["MediaSources"] = [self._source_dto(source, version) for source in self.sources]
        return value

    @staticmethod
    def _source_dto(source: Source, version: Version) -> dict[str, Any]:
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
    """Return a film with one media source, with the sidecars and the size of `file` if it is real."""
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
    source.read_folder()
    return FakeItem(item_id, library, "Movie", name, [source], added or now - timedelta(days=1), now)
