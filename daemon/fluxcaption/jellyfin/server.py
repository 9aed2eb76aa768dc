"""A Jellyfin server as a MediaServer: 10.10, 10.11 and 12.0.

Source: server contract, appendix A and the sections named at each method.
"""

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fluxcaption.domain.errors import ItemGone, ServerRefusesUploads, ServiceUnreachable, SubtitleUnreadable
from fluxcaption.domain.media import FinishedTrack, Item, Library, MediaLocation, MediaSource, ServerIdentity, SubtitleTrack
from fluxcaption.domain.units import ItemId, ServerId
from fluxcaption.jellyfin.client import SERVICE, JellyfinClient
from fluxcaption.jellyfin.parse import is_id, read_item, read_libraries, read_version
from fluxcaption.jellyfin.paths import local_path
from fluxcaption.ports import FileWriter
from fluxcaption.settings import JellyfinServer as Settings

PAGE = 200
OVERLAP = 20
"""Items that go away while we read shift the rest forward; so many are read twice at each page's end."""

FIELDS = "Path,MediaSources,ProviderIds,DateCreated,Etag"
KINDS = "Movie,Episode,Video,MusicVideo"
SUBTITLE_CAP_BYTES = 4 * 2**20
OLDEST = (10, 10, 0)
REFUSES_ALL_UPLOADS = (10, 11, 7)
PAGE_S, UPLOAD_S, DELETE_S, EXTRACTION_S = 120.0, 60.0, 120.0, 35 * 60.0
"""Longest silences by kind of call (contract 12 and 5.2)."""


class JellyfinServer:
    """MediaServer over the server's own routes."""

    def __init__(self, settings: Settings, version: str, write_file: FileWriter) -> None:
        self._settings = settings
        self._client = JellyfinClient(settings, version)
        self._write_file = write_file
        self._version = (0, 0, 0)

    async def connect(self) -> ServerIdentity:
        """Check address, service, version and key, in the order that tells which is wrong (A1)."""
        url = self._client.url
        answer = await self._client.call("GET", "/System/Info/Public", expected=frozenset({404}))
        info = {name.lower(): value for name, value in answer.json(url).items()} if answer.status == 200 else {}
        if "jellyfin" not in str(info.get("productname", "")).lower():
            raise ServiceUnreachable(SERVICE, url, "something else answers there, or the base path in server.url is wrong")
        self._version = read_version(info.get("version"))
        if self._version < OLDEST:
            raise ServiceUnreachable(SERVICE, url, f"version {info.get('version')} is too old: 10.10 or newer is needed")
        await self._client.call("GET", "/System/Info")
        return ServerIdentity(ServerId(str(info.get("id", ""))), str(info.get("servername", "Jellyfin")), str(info.get("version")))

    async def libraries(self) -> Sequence[Library]:
        """Libraries of films, episodes and home videos (3.2)."""
        answer = await self._client.call("GET", "/Library/VirtualFolders")
        return read_libraries(_rows(answer.json(self._client.url)))

    async def items(self, library: Library, since: datetime | None = None) -> AsyncIterator[Sequence[Item]]:
        """Read a library by offset, the end of each page twice, each item given once (3.3)."""
        seen: set[ItemId] = set()
        start = 0
        while True:
            params = {
                "parentId": library.id,
                "recursive": "true",
                "includeItemTypes": KINDS,
                "excludeLocationTypes": "Virtual",
                "fields": FIELDS,
                "enableImages": "false",
                "enableUserData": "false",
                "enableTotalRecordCount": "false",
                # Without it 10.10 and 10.11 answer a key from memory and ignore the cursor.
                "collapseBoxSetItems": "false",
                "sortBy": "DateCreated,SortName",
                "sortOrder": "Ascending",
                "startIndex": str(start),
                "limit": str(PAGE),
            }
            if since is not None:
                # `minDateLastSaved` itself is an error on 10.10.
                params["minDateLastSavedForUser"] = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.0000000Z")
            answer = await self._client.call("GET", "/Items", params=params, timeout_s=PAGE_S)
            rows = _items_in(answer.json(self._client.url))
            page = [read_item(row, library.name) for row in rows]
            yield [item for item in page if item.id not in seen]
            seen.update(item.id for item in page)
            if len(rows) < PAGE:
                return
            start += PAGE - OVERLAP

    async def fetch_item(self, item_id: ItemId) -> Item:
        """Read one item by the list route: the single one needs a user (1.4)."""
        if not is_id(item_id):
            raise ItemGone(item_id)
        answer = await self._client.call("GET", "/Items", params={"ids": item_id, "fields": FIELDS, "enableImages": "false", "enableUserData": "false"})
        for row in _items_in(answer.json(self._client.url)):
            if row.get("Id") == item_id:
                return read_item(row)
        raise ItemGone(item_id)

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
        if self._settings.write == "sidecar" or (self._settings.write == "auto" and self._version == REFUSES_ALL_UPLOADS and mapped is not None):
            if mapped is None:
                raise ServerRefusesUploads("server.write is sidecar, but server.path_map does not lead to the file")
            await asyncio.to_thread(self._write_file, mapped.parent / track.file_name(source.stem), track.content)
            await self.refresh(ItemId(source.id))
            return
        if self._version == REFUSES_ALL_UPLOADS:
            raise ServerRefusesUploads("Jellyfin 10.11.7 refuses every upload: update it, or set server.path_map")
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
        if answer.status >= 400:
            raise ServerRefusesUploads(f"status {answer.status} for {track.file_name(source.stem)}: is the library's folder writable for Jellyfin?")

    async def refresh(self, item_id: ItemId) -> None:
        """The lightest refresh that picks up a new sidecar (7.8)."""
        params = {"metadataRefreshMode": "ValidationOnly", "imageRefreshMode": "None", "replaceAllMetadata": "false", "replaceAllImages": "false"}
        await self._client.call("POST", f"/Items/{item_id}/Refresh", params=params, expected=frozenset({404}))

    async def delete(self, source: MediaSource, track: SubtitleTrack) -> None:
        """Delete by an index read just before, and only where the path is still the same (7.7)."""
        item = await self.fetch_item(ItemId(source.id))
        fresh = item.source(source.id)
        now = next((other for other in fresh.subtitles if other.is_external and other.path == track.path), None) if fresh else None
        if now is None:
            return
        await self._client.call("DELETE", f"/Videos/{source.id}/Subtitles/{now.handle}", timeout_s=DELETE_S, expected=frozenset({404}))

    @property
    def overwrites(self) -> bool:
        """An upload never overwrites: a second one lies beside the first as `.0`."""
        return False

    async def close(self) -> None:
        """Let go of connections and threads."""
        await self._client.close()

    def _mapped(self, source: MediaSource) -> Path | None:
        path = local_path(source.path, [(pair.server, pair.local) for pair in self._settings.path_map])
        try:
            return path if path is not None and path.stat().st_size == source.size_bytes else None
        except OSError:
            return None


def _rows(value: Any) -> Sequence[Mapping[str, Any]]:
    return [row for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []


def _items_in(value: Any) -> Sequence[Mapping[str, Any]]:
    return [row for row in _rows(value.get("Items") if isinstance(value, Mapping) else None) if is_id(str(row.get("Id", "")))]
