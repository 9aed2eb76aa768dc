"""A Jellyfin server as a MediaServer: 10.10, 10.11 and 12.0.

Source: server contract, appendix A and the sections named at each method.
"""

import asyncio
import base64
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fluxcaption.domain.errors import (
    ItemGone,
    ReplyUnusable,
    ServerRefusesUploads,
    ServiceUnreachable,
    SubtitleUnreadable,
    WriteRefused,
)
from fluxcaption.domain.media import FinishedTrack, Item, Library, MediaSource, ServerIdentity, SubtitleTrack
from fluxcaption.domain.playback import Playing
from fluxcaption.domain.units import ItemId, ServerId, SourceId
from fluxcaption.jellyfin.admin import JellyfinAdmin
from fluxcaption.jellyfin.checks import Severity, check_paths
from fluxcaption.jellyfin.client import SERVICE, Answer, AnswerTooLarge, JellyfinClient
from fluxcaption.jellyfin.parse import (
    FOLDERS,
    KINDS,
    UNREADABLE,
    is_id,
    read_date,
    read_etag,
    read_item,
    read_libraries,
    read_playing,
    read_tags,
    read_time,
    read_version,
)
from fluxcaption.jellyfin.paths import local_path
from fluxcaption.mounts import Mounts
from fluxcaption.plugin_manifest import webhook_plugin
from fluxcaption.ports.files import SidecarWriter
from fluxcaption.ports.media import MediaLocation
from fluxcaption.ports.media_server import ItemRevision, LibraryScan, ServerCapabilities
from fluxcaption.ports.storage import ItemRecord
from fluxcaption.settings import JellyfinConfig as Settings

log = logging.getLogger(__name__)

PAGE = 200
LEAN_PAGE = 500
IDS_PER_REQUEST = 50
OVERLAP = 20
"""Items that go away while we read shift the rest forward: so many are read twice, and a page none of which was seen before is stepped back from."""

FIELDS = "Path,MediaSources,ProviderIds,DateCreated,Etag"
SUBTITLE_CAP_BYTES = 4 * 2**20
SERVED_AS_THEY_ARE = frozenset({"srt", "vtt", "ass", "ssa", "ttml"})
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


ItemRecords = Callable[[ServerId, Sequence[ItemId]], Awaitable[Mapping[ItemId, ItemRecord]]]
"""What the passes over the libraries have remembered of some items."""


class JellyfinServer:
    """MediaServer over the server's own routes."""

    def __init__(
        self,
        settings: Settings,
        version: str,
        write_sidecar: SidecarWriter,
        needs: RuleNeeds = RuleNeeds(),
        records: ItemRecords | None = None,
    ) -> None:
        self._settings = settings
        self._client = JellyfinClient(settings, version)
        self._write_sidecar = write_sidecar
        self._version = (0, 0, 0)
        self._needs = needs
        self._records = records
        self._fields = FIELDS + (",Tags" if needs.tags else "")
        self._collections: dict[str, tuple[str, ...]] = {}
        self._series_tags: dict[str, tuple[str, ...]] = {}
        self._mounts = Mounts()
        self._folders: list[tuple[str, str]] | None = None

    async def connect(self) -> ServerIdentity:
        """Check address, service, version and key, in the order that tells which is wrong (A1)."""
        identity = await JellyfinAdmin(self._client).public_info()
        self._version = read_version(identity.version)
        if self._version < OLDEST:
            raise ServiceUnreachable(
                SERVICE, self._client.url, f"version {identity.version} is too old: 10.10 or newer is needed"
            )
        await self._client.call("GET", "/System/Info")
        return identity

    async def check_path_map(self) -> str:
        """The doctor's own look at one file of each library."""
        if not self._settings.path_map:
            return ""
        found = await check_paths(self._client, self._settings)
        return f"{found.text}: {found.fix}" if found.severity is Severity.PROBLEM else ""

    async def libraries(self) -> Sequence[Library]:
        """Libraries of films, episodes and home videos (3.2)."""
        answer = await self._client.call("GET", "/Library/VirtualFolders")
        if self._needs.collections:
            self._collections = await self._members_of_collections()
        folders = _rows(answer.json(self._client.url))
        self._folders = [
            (place.replace("\\", "/").rstrip("/") + "/", str(row.get("Name", "")))
            for row in folders
            for place in _texts(row.get("Locations"))
        ]
        libraries = read_libraries(folders)
        if self._needs.tags:
            self._series_tags = await self._tags_of_series(libraries)
        return libraries

    async def items(self, library: Library, since: datetime | None = None) -> AsyncIterator[Sequence[Item]]:
        """Read a library by offset, the end of each page twice, each item given once (3.3)."""
        more = {"fields": self._fields}
        if since is not None:
            # `minDateLastSaved` itself is an error on 10.10.
            more["minDateLastSavedForUser"] = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.0000000Z")
        async for rows in self._pages(library, PAGE, more):
            yield await self._looked_at([self._item(row, library.name) for row in rows])

    async def item_revisions(self, library: Library) -> AsyncIterator[Sequence[ItemRevision]]:
        """Ids and Etags alone: an eighth of the cost (3.3)."""
        async for rows in self._pages(library, LEAN_PAGE, {"fields": "Etag"}):
            yield [
                ItemRevision(ItemId(row["Id"]), read_etag(row, self._collections, self._series_tags))
                for row in rows
            ]

    async def _pages(
        self, library: Library, size: int, more: Mapping[str, str]
    ) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
        # Hashes take a third of the room of ids, and a library may have hundreds of thousands.
        seen: set[int] = set()
        start = 0
        while True:
            params = {
                "parentId": library.id,
                "recursive": "true",
                "includeItemTypes": ",".join(KINDS),
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
            new = [row for row in rows if hash(row["Id"]) not in seen]
            if start and len(new) == len(rows):
                # More went away before this page than it overlaps the last one: what moved up is still to be read.
                start = max(0, start - size)
                continue
            seen.update(hash(row["Id"]) for row in new)
            yield new
            if len(rows) < size:
                return
            start += size - OVERLAP

    async def fetch_items(self, ids: Sequence[ItemId], library: Library | None = None) -> Sequence[Item]:
        """Read items by a list of ids; an answer with others in it is refused, since a list without a valid id is no filter at all (3.3)."""
        found: list[Item] = []
        for first in range(0, len(ids), IDS_PER_REQUEST):
            part = [item_id for item_id in ids[first : first + IDS_PER_REQUEST] if is_id(item_id)]
            if part:
                rows = await self._rows_of(part)
                places = {} if library is not None else await self._places_of(rows)
                found += await self._looked_at(
                    [
                        self._item(row, library.name if library is not None else places[row["Id"]])
                        for row in rows
                    ]
                )
        return found

    async def fetch_item(self, item_id: ItemId) -> Item:
        """Read one item by the list route: the single one needs a user (1.4)."""
        for item in await self.fetch_items([item_id]):
            return item
        raise ItemGone(item_id)

    async def _rows_of(self, ids: Sequence[str]) -> Sequence[Mapping[str, Any]]:
        params = {
            "ids": ",".join(ids),
            "fields": self._fields,
            "enableImages": "false",
            "enableUserData": "false",
        }
        rows = _items_in(
            (await self._client.call("GET", "/Items", params=params, timeout_s=PAGE_S)).json(self._client.url)
        )
        request = set(ids)
        if any(row["Id"] not in request for row in rows):
            raise ServiceUnreachable(SERVICE, self._client.url, "it answered with items nobody asked for")
        return rows

    async def episodes_of(self, item_id: ItemId) -> Sequence[ItemId]:
        """The episodes of a series or season (A4)."""
        if not is_id(item_id):
            return []
        rows = await self._rows_of([item_id])
        if not rows or rows[0].get("Type") not in FOLDERS:
            return [item_id]
        library = Library(item_id, "")
        return [glance.id async for page in self.item_revisions(library) for glance in page]

    async def library_scan(self) -> LibraryScan:
        """The task `RefreshLibrary` (8.4)."""
        answer = await self._client.call("GET", "/ScheduledTasks")
        for task in _rows(answer.json(self._client.url)):
            if task.get("Key") == "RefreshLibrary":
                last = task.get("LastExecutionResult") or {}
                ended = read_time(last.get("EndTimeUtc")) if last.get("EndTimeUtc") else None
                started = read_time(last.get("StartTimeUtc")) if last.get("StartTimeUtc") else None
                return LibraryScan(
                    task.get("State", "Idle") != "Idle",
                    started,
                    ended,
                    read_date(answer.headers.get("Date", "")),
                )
        return LibraryScan()

    async def trigger_webhook_tasks(self) -> None:
        """Kick the webhook plugin's tasks, and arm timers that a start left waiting an hour (9.3)."""
        await JellyfinAdmin(self._client).trigger_webhook_tasks(webhook_plugin())

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
            if row.get("Type") in {"VideoPlayback", "VideoPlaybackStopped"}
            and is_id(str(row.get("ItemId", "")))
        ]

    async def media_exists(self, source: MediaSource) -> bool:
        """The mapped file, and whether the server would stream it where it is the one that writes: either may have lost its mount."""
        if (path := local_path(source.path, self._pairs)) is not None:
            is_file = await asyncio.to_thread(_is_file, path)
            if not is_file or not self._server_writes:
                return is_file
        answer = await self._client.call(
            "HEAD",
            f"/Videos/{source.id}/stream",
            params={"static": "true", "mediaSourceId": source.id},
            expected=frozenset({400, 404, 416, 500}),
        )
        return answer.status in {200, 206}

    async def sidecar_path(self, source: MediaSource, name: str) -> Path | None:
        """Beside the mapped media."""
        mapped = await asyncio.to_thread(self._mapped, source)
        return mapped.parent / name if mapped is not None else None

    async def _places_of(self, rows: Sequence[Mapping[str, Any]]) -> Mapping[str, str]:
        """The library of each row: where a pass has found it, else by its path, which the server may spell in another way than the library's folder."""
        if self._folders is None:
            await self.libraries()
        known: Mapping[ItemId, ItemRecord] = {}
        if self._records is not None and rows:
            known = await self._records(
                ServerId(str(rows[0].get("ServerId", ""))), [ItemId(row["Id"]) for row in rows]
            )
        places: dict[str, str] = {}
        for row in rows:
            path = str(row.get("Path", "")).replace("\\", "/")
            record = known.get(ItemId(row["Id"]))
            places[row["Id"]] = (
                record.library
                if record
                else next((name for folder, name in self._folders or () if path.startswith(folder)), "")
            )
        return places

    def _item(self, row: Mapping[str, Any], library: str) -> Item:
        return read_item(row, library, self._collections, self._series_tags)

    async def _looked_at(self, items: Sequence[Item]) -> Sequence[Item]:
        """The items, with those whose mapped files lie in the cloud marked: a look at the disk may be slow, so not on the loop."""
        if unreadable := [item for item in items if item.skipped.startswith(UNREADABLE)]:
            first = unreadable[0]
            log.warning(
                "items are passed over: %s",
                first.skipped,
                extra={"items": len(unreadable), "first": first.name, "id": first.id},
            )
        return (
            await asyncio.to_thread(lambda: [self._marked(item) for item in items]) if self._pairs else items
        )

    def _marked(self, item: Item) -> Item:
        sources = tuple(
            replace(source, is_remote=True)
            if (path := local_path(source.path, self._pairs)) is not None and self._mounts.is_cloud(path)
            else source
            for source in item.sources
        )
        return replace(item, sources=sources)

    async def _members_of_collections(self) -> dict[str, tuple[str, ...]]:
        params = {
            "recursive": "true",
            "includeItemTypes": "BoxSet",
            "collapseBoxSetItems": "false",
            "enableImages": "false",
        }
        wanted = {name.casefold() for name in self._needs.collections}
        members: dict[str, tuple[str, ...]] = {}
        for box in _items_in(
            (await self._client.call("GET", "/Items", params=params, timeout_s=PAGE_S)).json(self._client.url)
        ):
            if str(box.get("Name", "")).casefold() in wanted:
                inside = await self._client.call(
                    "GET",
                    "/Items",
                    params={"parentId": str(box["Id"]), "enableImages": "false"},
                    timeout_s=PAGE_S,
                )
                for row in _items_in(inside.json(self._client.url)):
                    members[str(row["Id"])] = (*members.get(str(row["Id"]), ()), str(box["Name"]))
        return members

    async def _tags_of_series(self, libraries: Sequence[Library]) -> dict[str, tuple[str, ...]]:
        """A server names them at the series alone, not at its episodes."""
        of_series = {"includeItemTypes": "Series", "fields": "Tags"}
        return {
            row["Id"]: read_tags(row)
            for library in libraries
            async for rows in self._pages(library, LEAN_PAGE, of_series)
            for row in rows
            if row.get("Tags")
        }

    async def read_text_track(self, item_id: ItemId, source: MediaSource, track: SubtitleTrack) -> bytes:
        """An external track in its own format, an embedded one as the server extracts it (5.1), by the index it has now (4.3).

        What the server cut out it keeps by an index that moves with every file beside the film, and then answers with another track's text (5.3):
        so nothing is taken from it while a file lies there.
        """
        now = (await self.fetch_item(item_id)).source(source.id)
        found = next((other for other in now.subtitles if other.key == track.key), None) if now else None
        if now is None or found is None:
            raise SubtitleUnreadable(track.file_name or source.stem, "the server does not list it any more")
        if not track.is_external and any(other.is_external for other in now.subtitles):
            raise SubtitleUnreadable(
                source.stem, "what the server extracts cannot be trusted while files lie beside the film"
            )
        track = found
        extension = (
            track.file_name.rsplit(".", 1)[-1].lower()
            if track.is_external
            else "ass"
            if track.codec in {"ass", "ssa"}
            else "srt"
        )
        try:
            answer = await self._client.call(
                "GET",
                # Any other text file comes as SubRip.
                f"/Videos/{source.id}/{source.id}/Subtitles/{track.handle}/Stream.{extension if extension in SERVED_AS_THEY_ARE else 'srt'}",
                timeout_s=30.0 if track.is_external else EXTRACTION_S,
                expected=frozenset({400, 404, 500}),
                max_bytes=SUBTITLE_CAP_BYTES,
            )
        except AnswerTooLarge as error:
            raise SubtitleUnreadable(track.file_name or source.stem, "it is larger than 4 MiB") from error
        if answer.status == 500:
            raise ReplyUnusable(
                f"the server stumbles over {track.file_name or 'a text track of ' + source.stem} (status 500)"
            )
        if answer.status != 200:
            raise SubtitleUnreadable(
                track.file_name or source.stem, f"the server does not give it (status {answer.status})"
            )
        return answer.body

    async def locate(self, source: MediaSource) -> MediaLocation:
        """The mapped file where it is there with the right size, else the static stream (6)."""
        if (path := await asyncio.to_thread(self._mapped, source)) is not None:
            return MediaLocation(str(path))
        url = f"{self._client.url}/Videos/{source.id}/stream?static=true&mediaSourceId={source.id}"
        return MediaLocation(url, (("Authorization", self._client.authorization()),), self._client.verify)

    async def upload(self, source: MediaSource, track: FinishedTrack) -> None:
        """Upload, or write a sidecar where that is wanted or the only way (7.1 to 7.4)."""
        mapped = await asyncio.to_thread(self._mapped, source)
        if self._settings.write == "sidecar":
            if mapped is None:
                raise ServerRefusesUploads(
                    "server.write is sidecar, but server.path_map does not lead to the file", was_sent=False
                )
            await self._write_beside(mapped, source, track)
            return
        if self._version == REFUSES_ALL_UPLOADS:
            if mapped is None or self._settings.write == "upload":
                raise ServerRefusesUploads(
                    "Jellyfin 10.11.7 refuses every upload: update it, or set server.path_map", was_sent=False
                )
            await self._write_beside(mapped, source, track)
            return
        body = {
            "Language": f"{track.marker}.{track.target.file_suffix}",
            "Format": track.extension,
            "IsForced": False,
            "IsHearingImpaired": False,
            "Data": base64.b64encode(track.content).decode(),
        }
        answer = await self._client.call(
            "POST",
            f"/Videos/{source.id}/Subtitles",
            body=body,
            timeout_s=UPLOAD_S,
            expected=frozenset({400, 404, 413, 500}),
        )
        if answer.status == 404:
            raise ItemGone(source.id)
        if answer.status < 400:
            return
        if mapped is not None and self._settings.write == "auto":
            await self._write_beside(mapped, source, track)
            return
        if answer.status == 413:
            raise ServerRefusesUploads("a proxy before it limits the size of a request (status 413)")
        raise ServerRefusesUploads(
            f"status {answer.status} for {track.file_name(source.stem)}: is the library's folder writable for Jellyfin?"
        )

    async def _write_beside(self, mapped: Path, source: MediaSource, track: FinishedTrack) -> None:
        await asyncio.to_thread(self._write_sidecar, mapped, track.file_name(source.stem), track.content)
        await self.refresh(ItemId(source.id))

    async def write_sidecar(self, source: MediaSource, name: str, content: bytes) -> bool:
        """By the mapped path, unless the owner wants uploads alone; the server is then asked to look."""
        mapped = await asyncio.to_thread(self._mapped, source)
        if mapped is None or self._settings.write == "upload":
            return False
        try:
            await asyncio.to_thread(self._write_sidecar, mapped, name, content)
        except WriteRefused as error:
            log.info("a file beside the media is left to the server: %s", error)
            return False
        await self.refresh(ItemId(source.id))
        return True

    async def refresh(self, item_id: ItemId) -> None:
        """The lightest refresh that picks up a new sidecar (7.8)."""
        params = {
            "metadataRefreshMode": "ValidationOnly",
            "imageRefreshMode": "None",
            "replaceAllMetadata": "false",
            "replaceAllImages": "false",
        }
        await self._client.call("POST", f"/Items/{item_id}/Refresh", params=params, expected=frozenset({404}))

    async def delete(self, item_id: ItemId, source: MediaSource, track: SubtitleTrack) -> None:
        """By its own path where that is mapped; else by an index read just before, then making sure that it alone vanished (7.7, A6)."""
        if await asyncio.to_thread(self._unlink, source, track):
            await self.refresh(ItemId(source.id))
            return
        before = (await self.fetch_item(item_id)).source(source.id)
        now = _listed(before, track.path)
        if before is None or now is None:
            return
        answer = await self._client.call(
            "DELETE",
            f"/Videos/{source.id}/Subtitles/{now.handle}",
            timeout_s=DELETE_S,
            expected=frozenset({400, 404, 500}),
        )
        if answer.status == 500:
            raise WriteRefused(track.file_name, "the server could not delete it")
        if answer.status >= 400:
            raise ServiceUnreachable(
                SERVICE, self._client.url, f"it answered {answer.status} to the deletion of {track.file_name}"
            )
        after = (await self.fetch_item(item_id)).source(source.id)
        strangers = _paths(before) - _paths(after) - {track.path}
        if strangers:
            log.error(
                "a file that is not ours vanished while ours was deleted: %s",
                ", ".join(sorted(map(str, strangers))),
                extra={"ours": track.path},
            )
        if _listed(after, track.path) is not None:
            log.error(
                "the server still lists our file after its deletion: a file that came at that moment may have gone instead",
                extra={"ours": track.path},
            )
            raise WriteRefused(track.file_name, "the server still lists it after its deletion")

    def _unlink(self, source: MediaSource, track: SubtitleTrack) -> bool:
        mapped = self._mapped(source)
        if mapped is None or self._settings.write == "upload" or track.folder != source.folder:
            return False
        try:
            (mapped.parent / track.file_name).unlink()
        except OSError:
            return False
        return True

    @property
    def capabilities(self) -> ServerCapabilities:
        """Return the properties of Jellyfin: a second upload creates a second file with `.0` in its name."""
        return ServerCapabilities(
            replaces_on_upload=False,
            reports_playback=True,
            can_leave_partial_upload=True,
            has_library_scan=True,
        )

    async def close(self) -> None:
        """Let go of connections and threads."""
        await self._client.close()

    @property
    def _server_writes(self) -> bool:
        return self._settings.write != "sidecar" and self._version != REFUSES_ALL_UPLOADS

    @property
    def _pairs(self) -> Sequence[tuple[str, Path]]:
        return [(pair.server, pair.local) for pair in self._settings.path_map]

    def _mapped(self, source: MediaSource) -> Path | None:
        path = local_path(source.path, self._pairs)
        try:
            return path if path is not None and path.stat().st_size == source.size_bytes else None
        except OSError:
            return None


def _paths(source: MediaSource | None) -> frozenset[str | None]:
    return frozenset(track.path for track in source.subtitles if track.is_external) if source else frozenset()


def _listed(source: MediaSource | None, path: str | None) -> SubtitleTrack | None:
    return (
        next((track for track in source.subtitles if track.is_external and track.path == path), None)
        if source
        else None
    )


def _rows(value: Any) -> Sequence[Mapping[str, Any]]:
    return [row for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []


def _texts(value: Any) -> Sequence[str]:
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []


def _items_in_answer(answer: Answer, url: str) -> Sequence[Mapping[str, Any]]:
    """Parsing a page of thousands of streams takes tens of milliseconds: not on the loop."""
    return _items_in(answer.json(url))


def _is_file(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def _items_in(value: Any) -> Sequence[Mapping[str, Any]]:
    return [
        row
        for row in _rows(value.get("Items") if isinstance(value, Mapping) else None)
        if is_id(str(row.get("Id", "")))
    ]
