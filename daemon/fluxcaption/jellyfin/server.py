"""A Jellyfin server as a MediaServer: 10.10, 10.11 and 12.0.

Source: server contract, appendix A and the sections named at each method.
"""

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fluxcaption.domain.errors import ItemGone, ServerRefusesUploads, ServiceUnreachable, SubtitleUnreadable, WriteRefused
from fluxcaption.domain.media import FinishedTrack, Item, Library, MediaLocation, MediaSource, ServerIdentity, SubtitleTrack
from fluxcaption.domain.units import ItemId, SourceId
from fluxcaption.domain.watching import Playing
from fluxcaption.jellyfin.admin import JellyfinAdmin
from fluxcaption.jellyfin.client import SERVICE, Answer, JellyfinClient
from fluxcaption.jellyfin.parse import FOLDERS, is_id, read_date, read_item, read_libraries, read_playing, read_time, read_version
from fluxcaption.jellyfin.paths import local_path
from fluxcaption.mounts import Mounts
from fluxcaption.plugin_manifest import webhook_plugin
from fluxcaption.ports import Glance, LibraryScan, SidecarWriter
from fluxcaption.settings import JellyfinServer as Settings

PAGE = 200
LEAN_PAGE = 500
IDS_AT_ONCE = 50
OVERLAP = 20
"""Items that go away while we read shift the rest forward; so many are read twice at each page's end."""

FIELDS = "Path,MediaSources,ProviderIds,DateCreated,Etag"
KINDS = "Movie,Episode,Video,MusicVideo"
SUBTITLE_CAP_BYTES = 4 * 2**20
OLDEST = (10, 10, 0)
REFUSES_ALL_UPLOADS = (10, 11, 7)
PAGE_S, UPLOAD_S, DELETE_S, EXTRACTION_S = 120.0, 60.0, 120.0, 35 * 60.0
"""Longest silences by kind of call (contract 12 and 5.2)."""


@dataclass(frozen=True, slots=True)
class RuleNeeds:
    """What the household's rules ask of items beyond the ordinary.

    Attributes:
        tags: Whether tags are read.
        collections: Names of the collections whose members must be known.
    """

    tags: bool = False
    collections: frozenset[str] = frozenset()


class JellyfinServer:
    """MediaServer over the server's own routes."""

    def __init__(self, settings: Settings, version: str, write_sidecar: SidecarWriter, needs: RuleNeeds = RuleNeeds()) -> None:
        self._settings = settings
        self._client = JellyfinClient(settings, version)
        self._write_sidecar = write_sidecar
        self._version = (0, 0, 0)
        self._needs = needs
        self._fields = FIELDS + (",Tags" if needs.tags else "")
        self._collections: dict[str, tuple[str, ...]] = {}
        self._mounts = Mounts()
        self._folders: list[tuple[str, str]] | None = None

    async def connect(self) -> ServerIdentity:
        """Check address, service, version and key, in the order that tells which is wrong (A1)."""
        identity = await JellyfinAdmin(self._client).public_info()
        self._version = read_version(identity.version)
        if self._version < OLDEST:
            raise ServiceUnreachable(SERVICE, self._client.url, f"version {identity.version} is too old: 10.10 or newer is needed")
        await self._client.call("GET", "/System/Info")
        return identity

    async def libraries(self) -> Sequence[Library]:
        """Libraries of films, episodes and home videos (3.2)."""
        answer = await self._client.call("GET", "/Library/VirtualFolders")
        if self._needs.collections:
            self._collections = await self._members_of_collections()
        folders = _rows(answer.json(self._client.url))
        self._folders = [(str(place).replace("\\", "/").rstrip("/") + "/", str(row.get("Name", ""))) for row in folders for place in row.get("Locations") or ()]
        return read_libraries(folders)

    async def items(self, library: Library, since: datetime | None = None) -> AsyncIterator[Sequence[Item]]:
        """Read a library by offset, the end of each page twice, each item given once (3.3)."""
        more = {"fields": self._fields}
        if since is not None:
            # `minDateLastSaved` itself is an error on 10.10.
            more["minDateLastSavedForUser"] = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.0000000Z")
        async for rows in self._pages(library, PAGE, more):
            yield [self._item(row, library.name) for row in rows]

    async def glances(self, library: Library) -> AsyncIterator[Sequence[Glance]]:
        """Ids and Etags alone: an eighth of the cost (3.3)."""
        async for rows in self._pages(library, LEAN_PAGE, {"fields": "Etag"}):
            yield [Glance(ItemId(row["Id"]), str(row.get("Etag", ""))) for row in rows]

    async def _pages(self, library: Library, size: int, more: Mapping[str, str]) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
        before: frozenset[str] = frozenset()
        start = 0
        while True:
            params = {
                "parentId": library.id,
                "recursive": "true",
                "includeItemTypes": KINDS,
                "excludeLocationTypes": "Virtual",
                "enableImages": "false",
                "enableUserData": "false",
                "enableTotalRecordCount": "false",
                # Without it 10.10 and 10.11 answer a key from memory and ignore the cursor.
                "collapseBoxSetItems": "false",
                "sortBy": "DateCreated,SortName",
                "sortOrder": "Ascending",
                "startIndex": str(start),
                "limit": str(size),
                **more,
            }
            answer = await self._client.call("GET", "/Items", params=params, timeout_s=PAGE_S)
            rows = await asyncio.to_thread(_items_in_answer, answer, self._client.url)
            if len(rows) > size:
                raise ServiceUnreachable(SERVICE, self._client.url, "it answered with items nobody asked for")
            yield [row for row in rows if row["Id"] not in before]
            if len(rows) < size:
                return
            before = frozenset(row["Id"] for row in rows[-OVERLAP:])
            start += size - OVERLAP

    async def fetch_items(self, ids: Sequence[ItemId]) -> Sequence[Item]:
        """Read items by a list of ids; an answer with others in it is refused, since a list without a valid id is no filter at all (3.3)."""
        if self._folders is None:
            await self.libraries()
        found: list[Item] = []
        for first in range(0, len(ids), IDS_AT_ONCE):
            part = [item_id for item_id in ids[first : first + IDS_AT_ONCE] if is_id(item_id)]
            if part:
                found += [self._item(row) for row in await self._rows_of(part)]
        return found

    async def fetch_item(self, item_id: ItemId) -> Item:
        """Read one item by the list route: the single one needs a user (1.4)."""
        if not is_id(item_id):
            raise ItemGone(item_id)
        if self._folders is None:
            await self.libraries()
        for row in await self._rows_of([item_id]):
            return self._item(row)
        raise ItemGone(item_id)

    async def _rows_of(self, ids: Sequence[str]) -> Sequence[Mapping[str, Any]]:
        params = {"ids": ",".join(ids), "fields": self._fields, "enableImages": "false", "enableUserData": "false"}
        rows = _items_in((await self._client.call("GET", "/Items", params=params, timeout_s=PAGE_S)).json(self._client.url))
        asked = set(ids)
        if any(row["Id"] not in asked for row in rows):
            raise ServiceUnreachable(SERVICE, self._client.url, "it answered with items nobody asked for")
        return rows

    async def expand(self, item_id: ItemId) -> Sequence[ItemId]:
        """The episodes of a series or season (A4)."""
        if not is_id(item_id):
            return []
        rows = await self._rows_of([item_id])
        if not rows or rows[0].get("Type") not in FOLDERS:
            return [item_id]
        library = Library(item_id, "")
        return [glance.id async for page in self.glances(library) for glance in page]

    async def library_scan(self) -> LibraryScan:
        """The task `RefreshLibrary` (8.4)."""
        answer = await self._client.call("GET", "/ScheduledTasks")
        for task in _rows(answer.json(self._client.url)):
            if task.get("Key") == "RefreshLibrary":
                last = task.get("LastExecutionResult") or {}
                ended = read_time(last.get("EndTimeUtc")) if last.get("EndTimeUtc") else None
                started = read_time(last.get("StartTimeUtc")) if last.get("StartTimeUtc") else None
                return LibraryScan(task.get("State", "Idle") != "Idle", started, ended, read_date(answer.headers.get("Date", "")))
        return LibraryScan()

    async def hurry_news(self) -> None:
        """Kick the webhook plugin's tasks, and arm timers that a start left waiting an hour (9.3)."""
        await JellyfinAdmin(self._client).hurry_news(webhook_plugin())

    async def playing(self) -> Sequence[Playing]:
        """Sessions with something on, that reported lately (11)."""
        answer = await self._client.call("GET", "/Sessions", params={"activeWithinSeconds": "120"})
        return read_playing(_rows(answer.json(self._client.url)), answer.headers.get("Date", ""))

    async def played_since(self, since: datetime) -> Sequence[Playing]:
        """The activity log (11)."""
        params = {"minDate": since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.0000000Z"), "limit": "200"}
        answer = await self._client.call("GET", "/System/ActivityLog/Entries", params=params)
        value = answer.json(self._client.url)
        rows = _rows(value.get("Items") if isinstance(value, Mapping) else None)
        return [
            Playing(ItemId(str(row["ItemId"])), SourceId(str(row["ItemId"])), read_time(row.get("Date")))
            for row in rows
            if row.get("Type") in {"VideoPlayback", "VideoPlaybackStopped"} and is_id(str(row.get("ItemId", "")))
        ]

    async def is_there(self, source: MediaSource) -> bool:
        """The mapped file, else whether the server would stream it."""
        if (path := local_path(source.path, self._pairs)) is not None:
            return await asyncio.to_thread(_is_file, path)
        answer = await self._client.call(
            "HEAD", f"/Videos/{source.id}/stream", params={"static": "true", "mediaSourceId": source.id}, expected=frozenset({400, 404, 416, 500})
        )
        return answer.status in {200, 206}

    def track_file(self, source: MediaSource, name: str) -> Path | None:
        """Beside the mapped media."""
        mapped = self._mapped(source)
        return mapped.parent / name if mapped is not None else None

    def _item(self, row: Mapping[str, Any], library: str = "") -> Item:
        if not library:
            place = str(row.get("Path", "")).replace("\\", "/")
            library = next((name for folder, name in self._folders or () if place.startswith(folder)), "")
        item = read_item(row, library, self._collections)
        if not self._settings.path_map:
            return item
        sources = tuple(
            replace(source, is_remote=True) if (path := local_path(source.path, self._pairs)) is not None and self._mounts.is_cloud(path) else source
            for source in item.sources
        )
        return replace(item, sources=sources)

    async def _members_of_collections(self) -> dict[str, tuple[str, ...]]:
        params = {"recursive": "true", "includeItemTypes": "BoxSet", "collapseBoxSetItems": "false", "enableImages": "false"}
        wanted = {name.casefold() for name in self._needs.collections}
        members: dict[str, tuple[str, ...]] = {}
        for box in _items_in((await self._client.call("GET", "/Items", params=params, timeout_s=PAGE_S)).json(self._client.url)):
            if str(box.get("Name", "")).casefold() in wanted:
                inside = await self._client.call("GET", "/Items", params={"parentId": str(box["Id"]), "enableImages": "false"}, timeout_s=PAGE_S)
                for row in _items_in(inside.json(self._client.url)):
                    members[str(row["Id"])] = (*members.get(str(row["Id"]), ()), str(box["Name"]))
        return members

    async def read_text_track(self, source: MediaSource, track: SubtitleTrack) -> bytes:
        """An external track in its own format, an embedded one as the server extracts it (5.1)."""
        extension = track.file_name.rsplit(".", 1)[-1].lower() if track.is_external else "ass" if track.codec in {"ass", "ssa"} else "srt"
        answer = await self._client.call(
            "GET",
            f"/Videos/{source.id}/{source.id}/Subtitles/{track.handle}/Stream.{extension}",
            timeout_s=30.0 if track.is_external else EXTRACTION_S,
            expected=frozenset({400, 404, 500}),
            most_bytes=SUBTITLE_CAP_BYTES + 1,
        )
        if answer.status != 200:
            raise SubtitleUnreadable(track.file_name or source.stem, f"the server does not give it (status {answer.status})")
        return answer.body

    def locate(self, source: MediaSource) -> MediaLocation:
        """The mapped file where it is there with the right size, else the static stream (6)."""
        if (path := self._mapped(source)) is not None:
            return MediaLocation(str(path))
        url = f"{self._client.url}/Videos/{source.id}/stream?static=true&mediaSourceId={source.id}"
        return MediaLocation(url, (("Authorization", self._client.authorization()),))

    async def upload(self, source: MediaSource, track: FinishedTrack) -> None:
        """Upload, or write a sidecar where that is wanted or the only way (7.1 to 7.4)."""
        mapped = self._mapped(source)
        if self._settings.write == "sidecar":
            if mapped is None:
                raise ServerRefusesUploads("server.write is sidecar, but server.path_map does not lead to the file")
            await self._write_beside(mapped, source, track)
            return
        if self._version == REFUSES_ALL_UPLOADS:
            if mapped is None or self._settings.write == "upload":
                raise ServerRefusesUploads("Jellyfin 10.11.7 refuses every upload: update it, or set server.path_map")
            await self._write_beside(mapped, source, track)
            return
        body = {
            "Language": f"{track.marker}.{track.target.written}",
            "Format": track.extension,
            "IsForced": False,
            "IsHearingImpaired": False,
            "Data": base64.b64encode(track.content).decode(),
        }
        answer = await self._client.call("POST", f"/Videos/{source.id}/Subtitles", body=body, timeout_s=UPLOAD_S, expected=frozenset({400, 404, 500}))
        if answer.status == 404:
            raise ItemGone(source.id)
        if answer.status < 400:
            return
        if mapped is not None and self._settings.write == "auto":
            await self._write_beside(mapped, source, track)
            return
        raise ServerRefusesUploads(f"status {answer.status} for {track.file_name(source.stem)}: is the library's folder writable for Jellyfin?")

    async def _write_beside(self, mapped: Path, source: MediaSource, track: FinishedTrack) -> None:
        await asyncio.to_thread(self._write_sidecar, mapped, track.file_name(source.stem), track.content)
        await self.refresh(ItemId(source.id))

    async def refresh(self, item_id: ItemId) -> None:
        """The lightest refresh that picks up a new sidecar (7.8)."""
        params = {"metadataRefreshMode": "ValidationOnly", "imageRefreshMode": "None", "replaceAllMetadata": "false", "replaceAllImages": "false"}
        await self._client.call("POST", f"/Items/{item_id}/Refresh", params=params, expected=frozenset({404}))

    async def delete(self, item_id: ItemId, source: MediaSource, track: SubtitleTrack) -> None:
        """Delete by an index read just before, and only where the path is still the same; then make sure that it alone vanished (7.7, A6)."""
        before = (await self.fetch_item(item_id)).source(source.id)
        now = next((other for other in before.subtitles if other.is_external and other.path == track.path), None) if before else None
        if now is None:
            return
        answer = await self._client.call("DELETE", f"/Videos/{source.id}/Subtitles/{now.handle}", timeout_s=DELETE_S, expected=frozenset({400, 404, 500}))
        if answer.status == 500:
            raise WriteRefused(track.file_name, "the server could not delete it")
        if answer.status >= 400:
            raise ServiceUnreachable(SERVICE, self._client.url, f"it answered {answer.status} to the deletion of {track.file_name}")

    @property
    def overwrites(self) -> bool:
        """An upload never overwrites: a second one lies beside the first as `.0`."""
        return False

    async def close(self) -> None:
        """Let go of connections and threads."""
        await self._client.close()

    @property
    def _pairs(self) -> Sequence[tuple[str, Path]]:
        return [(pair.server, pair.local) for pair in self._settings.path_map]

    def _mapped(self, source: MediaSource) -> Path | None:
        path = local_path(source.path, self._pairs)
        try:
            return path if path is not None and path.stat().st_size == source.size_bytes else None
        except OSError:
            return None


def _rows(value: Any) -> Sequence[Mapping[str, Any]]:
    return [row for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []


def _items_in_answer(answer: Answer, url: str) -> Sequence[Mapping[str, Any]]:
    """Parsing a page of thousands of streams takes tens of milliseconds: not on the loop."""
    return _items_in(answer.json(url))


def _is_file(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def _items_in(value: Any) -> Sequence[Mapping[str, Any]]:
    return [row for row in _rows(value.get("Items") if isinstance(value, Mapping) else None) if is_id(str(row.get("Id", "")))]
