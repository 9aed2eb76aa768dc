"""The Jellyfin adapter: MediaServer for Jellyfin 10.10, 10.11 and 12.0.

`JellyfinServer` connects and delegates; each subject has a module: `library_reader`, `track_reader`,
`track_writer` and `playback_source`.

Source: notes/jellyfin-server.md, the facts named at each method.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from pathlib import Path

from fluxcaption.domain.errors import ServiceUnreachable
from fluxcaption.domain.media import FinishedTrack, Item, Library, MediaSource, ServerIdentity, SubtitleTrack
from fluxcaption.domain.playback import Playing
from fluxcaption.domain.units import ItemId
from fluxcaption.jellyfin.admin import JellyfinAdmin
from fluxcaption.jellyfin.answer import SERVICE
from fluxcaption.jellyfin.client import JellyfinClient
from fluxcaption.jellyfin.findings import Severity
from fluxcaption.jellyfin.library_reader import ItemRecords, JellyfinLibraryReader, RuleNeeds
from fluxcaption.jellyfin.path_map_check import check_path_map
from fluxcaption.jellyfin.paths import PathMap
from fluxcaption.jellyfin.playback_source import JellyfinPlaybackSource
from fluxcaption.jellyfin.track_reader import JellyfinTrackReader
from fluxcaption.jellyfin.track_writer import JellyfinTrackWriter
from fluxcaption.jellyfin.versions import OLDEST_SUPPORTED, read_version
from fluxcaption.mounts import Mounts
from fluxcaption.plugin_manifest import webhook_plugin
from fluxcaption.ports.files import SidecarWriter
from fluxcaption.ports.media import MediaLocation
from fluxcaption.ports.media_server import ItemRevision, LibraryScan, ServerCapabilities
from fluxcaption.settings import JellyfinConfig


class JellyfinServer:
    """MediaServer over the server's HTTP routes; `close` ends its connections and threads."""

    def __init__(
        self,
        settings: JellyfinConfig,
        version: str,
        write_sidecar: SidecarWriter,
        needs: RuleNeeds | None = None,
        records: ItemRecords | None = None,
        mounts: Mounts | None = None,
    ) -> None:
        """Create the adapter without connecting.

        Args:
            settings: Address, key and path map.
            version: Version of this daemon, sent to the server.
            write_sidecar: Writes files in mapped folders.
            needs: Facts about items that the rules refer to; none by default.
            records: Loads what earlier scans stored of items.
            mounts: Table of mounts; the system's own by default.
        """
        self._settings = settings
        self._client = JellyfinClient(settings, version)
        paths = PathMap(settings, mounts or Mounts())
        self._library = JellyfinLibraryReader(self._client, paths, needs or RuleNeeds(), records)
        fetch_item = self._library.fetch_item
        self._track_reader = JellyfinTrackReader(self._client, paths, fetch_item)
        self._track_writer = JellyfinTrackWriter(self._client, settings, paths, write_sidecar, fetch_item)
        self._playback = JellyfinPlaybackSource(self._client)

    async def connect(self) -> ServerIdentity:
        """Check address, service, version and key, in this order, so that the error names the cause (J5)."""
        identity = await JellyfinAdmin(self._client).public_info()
        version = read_version(identity.version)
        if version < OLDEST_SUPPORTED:
            detail = f"version {identity.version} is too old: update Jellyfin to 10.10 or newer"
            raise ServiceUnreachable(SERVICE, self._client.url, detail)
        self._track_writer.version = version
        await self._client.call("GET", "/System/Info")
        return identity

    async def close(self) -> None:
        """Close connections and threads; abort running requests."""
        await self._client.close()

    async def check_path_map(self) -> str:
        """Check one file of each library against the path map, as `doctor` does."""
        if not self._settings.path_map:
            return ""
        finding = await check_path_map(self._client, self._settings)
        return f"{finding.text}: {finding.fix}" if finding.severity is Severity.PROBLEM else ""

    async def trigger_webhook_tasks(self) -> None:
        """Start the tasks of the webhook plugin, and arm timers that wait an hour after a start (J42)."""
        await JellyfinAdmin(self._client).trigger_webhook_tasks(webhook_plugin())

    # Libraries and items

    async def libraries(self) -> Sequence[Library]:
        """Return the libraries of films, episodes and home videos."""
        return await self._library.libraries()

    def items(self, library: Library, since: datetime | None = None) -> AsyncIterator[Sequence[Item]]:
        """Read the items of a library page by page, each item once."""
        return self._library.items(library, since)

    def item_revisions(self, library: Library) -> AsyncIterator[Sequence[ItemRevision]]:
        """Read only the ids and Etags of a library, page by page."""
        return self._library.item_revisions(library)

    async def fetch_items(self, ids: Sequence[ItemId], library: Library | None = None) -> Sequence[Item]:
        """Read items by id; items that no longer exist are left out."""
        return await self._library.fetch_items(ids, library)

    async def fetch_item(self, item_id: ItemId) -> Item:
        """Read one item."""
        return await self._library.fetch_item(item_id)

    async def episodes_of(self, item_id: ItemId) -> Sequence[ItemId]:
        """Return the items below a series, season or folder; the id itself for any other item."""
        return await self._library.episodes_of(item_id)

    async def library_scan(self) -> LibraryScan:
        """Return the state of the server's library scan."""
        return await self._library.library_scan()

    # Playbacks

    async def playing(self) -> Sequence[Playing]:
        """Return the current playbacks."""
        return await self._playback.playing()

    async def played_since(self, since: datetime) -> Sequence[Playing]:
        """Return the playbacks since a time."""
        return await self._playback.played_since(since)

    # Media and tracks

    async def media_exists(self, source: MediaSource) -> bool:
        """Check the mapped file, and the server's view of the file if the server writes the track.

        Both are checked because either side may have lost its mount.
        """
        exists_locally = await self._track_reader.local_file_exists(source)
        if exists_locally is False or (exists_locally and not self._track_writer.writes_by_upload):
            return exists_locally
        return await self._track_reader.is_streamable(source)

    async def sidecar_path(self, source: MediaSource, name: str) -> Path | None:
        """Return the local path of a file beside the media; None if the media is not mapped."""
        return await self._track_reader.sidecar_path(source, name)

    async def read_text_track(self, item_id: ItemId, source: MediaSource, track: SubtitleTrack) -> bytes:
        """Return the text of a subtitle track."""
        return await self._track_reader.read_text_track(item_id, source, track)

    async def locate(self, source: MediaSource) -> MediaLocation:
        """Return the mapped file, otherwise the URL of the static stream."""
        return await self._track_reader.locate(source)

    async def upload(self, source: MediaSource, track: FinishedTrack) -> None:
        """Upload a finished track, or write it as a sidecar."""
        await self._track_writer.upload(source, track)

    async def write_sidecar(self, source: MediaSource, name: str, content: bytes) -> bool:
        """Write a file beside the mapped media. Return False if that is not possible."""
        return await self._track_writer.write_sidecar(source, name, content)

    async def refresh(self, item_id: ItemId) -> None:
        """Request the lightest refresh that lists a new sidecar."""
        await self._track_writer.refresh(item_id)

    async def delete(self, item_id: ItemId, source: MediaSource, track: SubtitleTrack) -> None:
        """Delete one external track and nothing else."""
        await self._track_writer.delete(item_id, source, track)

    @property
    def capabilities(self) -> ServerCapabilities:
        """Return the properties of Jellyfin: the second file of a name gets the suffix `.0`."""
        return ServerCapabilities(
            replaces_on_upload=False,
            reports_playback=True,
            can_leave_partial_upload=True,
            has_library_scan=True,
        )
