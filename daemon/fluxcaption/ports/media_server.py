"""Media server: a library of films and episodes that receives subtitles.

The port is cut by what a consumer needs; `MediaServer` combines all of it for the modules that wire adapters.
Every asynchronous method may raise ServiceUnreachable or KeyRejected.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from fluxcaption.domain.media import FinishedTrack, Item, Library, MediaSource, ServerIdentity, SubtitleTrack
from fluxcaption.domain.playback import Playing
from fluxcaption.domain.units import ItemId
from fluxcaption.ports.media import MediaLocation


@dataclass(frozen=True, slots=True)
class ServerCapabilities:
    """Properties of a kind of server that change how tracks are delivered.

    Attributes:
        replaces_on_upload: True if an upload replaces an earlier file of the same name. Otherwise the earlier
            file has to be deleted first, or the server stores a second one.
        reports_playback: True if the server knows what viewers play, and a new file may disturb them.
        can_leave_partial_upload: True if a failed upload may leave the beginning of the file behind.
        has_library_scan: True if the server keeps an index of its folders, which can lag behind the files.
    """

    replaces_on_upload: bool
    reports_playback: bool
    can_leave_partial_upload: bool
    has_library_scan: bool


@dataclass(frozen=True, slots=True)
class ItemRevision:
    """Id of an item with the value that changes whenever the item changes."""

    id: ItemId
    etag: str


@dataclass(frozen=True, slots=True)
class LibraryScan:
    """State of the server's own scan of its folders.

    Attributes:
        started_at: Start of the last scan that has ended; None if unknown.
        ended_at: End of that scan; None if unknown.
        now: Clock of the server; None if the server does not give it.
    """

    is_running: bool = False
    started_at: datetime | None = None
    ended_at: datetime | None = None
    now: datetime | None = None

    def has_run_since(self, time: datetime) -> bool:
        """Return True if a scan began after `time` and has ended, and none is running."""
        return (
            self.started_at is not None
            and self.ended_at is not None
            and not self.is_running
            and self.started_at > time
        )


class ServerConnection(Protocol):
    """Start, check and end of the connection."""

    async def connect(self) -> ServerIdentity:
        """Check that the right kind of server answers and accepts the key, and return its identity."""

    async def check_path_map(self) -> str:
        """Return the problem with the mapping of library paths to local paths; empty if there is none."""

    async def trigger_webhook_tasks(self) -> None:
        """Make the server send pending notifications of new items; do nothing if it sends none."""

    async def close(self) -> None:
        """Close connections and end threads."""


class ServerInfo(Protocol):
    """Facts about the server itself."""

    @property
    def capabilities(self) -> ServerCapabilities:
        """Return the properties of this kind of server."""

    async def library_scan(self) -> LibraryScan:
        """Return the state of the server's own scan of its folders."""


class LibraryReader(Protocol):
    """Libraries and their items."""

    async def libraries(self) -> Sequence[Library]:
        """Return the libraries that can hold films or episodes."""

    def items(self, library: Library, since: datetime | None = None) -> AsyncIterator[Sequence[Item]]:
        """Read a library page by page, each item once; with `since`, only items saved after that time."""

    def item_revisions(self, library: Library) -> AsyncIterator[Sequence[ItemRevision]]:
        """Read only ids and revisions of a library, page by page; much cheaper than `items`."""

    async def fetch_items(self, ids: Sequence[ItemId], library: Library | None = None) -> Sequence[Item]:
        """Return items in full, without those that no longer exist.

        Args:
            ids: Items to read.
            library: Library of all of them, if the caller knows it.
        """

    async def fetch_item(self, item_id: ItemId) -> Item:
        """Return the current state of one item.

        Raises:
            ItemGone: The server does not know the item.
        """

    async def episodes_of(self, item_id: ItemId) -> Sequence[ItemId]:
        """Return the episodes of a series or season; the id itself for any other item."""


class TrackReader(Protocol):
    """Files of a media source: the media itself and its tracks."""

    async def media_exists(self, source: MediaSource) -> bool:
        """Return True if the media file is readable now, so that its disk is mounted."""

    async def sidecar_path(self, source: MediaSource, name: str) -> Path | None:
        """Return the local path of a sidecar of that name; None if its folder is not reachable from here."""

    async def read_text_track(self, item_id: ItemId, source: MediaSource, track: SubtitleTrack) -> bytes:
        """Return a text track in its own format, or as SubRip. The track is found even if it was renumbered.

        Raises:
            SubtitleUnreadable: The track does not exist, is empty, or is larger than 4 MiB.
            ReplyUnusable: The server failed to read the track.
        """

    async def locate(self, source: MediaSource) -> MediaLocation:
        """Return the place of the media bytes: a mapped local path, otherwise a URL."""


class TrackWriter(Protocol):
    """Changes of the subtitle files of a media source."""

    async def upload(self, source: MediaSource, track: FinishedTrack) -> None:
        """Send a finished track once. A return does not prove that the file was stored.

        Raises:
            WriteRefused: The folder is not writable.
            ServerRefusesUploads: The server cannot accept the track.
            DiskLow: There is no free space.
        """

    async def write_sidecar(self, source: MediaSource, name: str, content: bytes) -> bool:
        """Write a file beside the media, over an existing one of that name.

        Returns:
            False if the folder is not reachable or not writable from here, and `upload` has to be used.

        Raises:
            WriteRefused: The folder is not writable, and there is no other way.
            DiskLow: There is no free space.
        """

    async def refresh(self, item_id: ItemId) -> None:
        """Ask the server for the cheapest refresh of an item that finds new and removed sidecars."""

    async def delete(self, item_id: ItemId, source: MediaSource, track: SubtitleTrack) -> None:
        """Delete one external track and nothing else; a track that does not exist is no error.

        Raises:
            WriteRefused: The track still exists afterwards.
        """


class PlaybackSource(Protocol):
    """Playback on the server."""

    async def playing(self) -> Sequence[Playing]:
        """Return what is played now."""

    async def played_since(self, since: datetime) -> Sequence[Playing]:
        """Return what was played after a time, from the server's own log."""


class MediaServer(
    ServerConnection, ServerInfo, LibraryReader, TrackReader, TrackWriter, PlaybackSource, Protocol
):
    """Complete media server, for the modules that wire adapters."""
