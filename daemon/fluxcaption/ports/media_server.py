"""Media server: the library of films and episodes that receives the subtitles."""

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
class ItemRevision:
    """An item as a lean look shows it."""

    id: ItemId
    etag: str


@dataclass(frozen=True, slots=True)
class LibraryScan:
    """How the server's own pass over its folders stands.

    Attributes:
        ended_at: End of the last one that is known.
        now: The server's own clock; None where it does not say.
    """

    is_running: bool = False
    started_at: datetime | None = None
    ended_at: datetime | None = None
    now: datetime | None = None


class MediaServer(Protocol):
    """A library of films and episodes that subtitles can be put into.

    Every method may raise ServiceUnreachable or KeyRejected.
    """

    async def connect(self) -> ServerIdentity:
        """Make sure the right kind of server answers and takes our key."""

    async def check_path_map(self) -> str:
        """What is wrong with the way from the library's paths to ours; empty where nothing is."""

    async def libraries(self) -> Sequence[Library]:
        """List the libraries that can hold films or episodes."""

    def items(self, library: Library, since: datetime | None = None) -> AsyncIterator[Sequence[Item]]:
        """Read a library page by page, each item once; with `since`, only what was saved after it."""

    def item_revisions(self, library: Library) -> AsyncIterator[Sequence[ItemRevision]]:
        """Read only the ids of a library and what tells whether an item changed, page by page; much cheaper than `items`."""

    async def fetch_items(self, ids: Sequence[ItemId], library: Library | None = None) -> Sequence[Item]:
        """Read some items in full; those that are gone are left out. Whoever walks a library says which one that is."""

    async def episodes_of(self, item_id: ItemId) -> Sequence[ItemId]:
        """The episodes of a series or season; the id itself for anything else."""

    async def library_scan(self) -> LibraryScan:
        """How the server's own pass over its folders stands."""

    async def trigger_webhook_tasks(self) -> None:
        """Have the server send what it knows to be new, where it has something that does."""

    async def playing(self) -> Sequence[Playing]:
        """What is being watched at this moment."""

    async def played_since(self, since: datetime) -> Sequence[Playing]:
        """What was watched since then, as the server has written down."""

    async def media_exists(self, source: MediaSource) -> bool:
        """Whether the media itself can be seen now: nothing is written beside a file whose disk is away."""

    async def sidecar_path(self, source: MediaSource, name: str) -> Path | None:
        """Where a track of that name lies on this machine; None when its folder cannot be seen from here."""

    async def fetch_item(self, item_id: ItemId) -> Item:
        """Read one item afresh.

        Raises:
            ItemGone: The server does not know it.
        """

    async def read_text_track(self, item_id: ItemId, source: MediaSource, track: SubtitleTrack) -> bytes:
        """Fetch a text track in its own format, or as SubRip; found again where its library may have renumbered it.

        Raises:
            SubtitleUnreadable: It is not there, empty or larger than 4 MiB.
            ReplyUnusable: The server stumbled over it.
        """

    async def locate(self, source: MediaSource) -> MediaLocation:
        """Say where the bytes of the media can be read: a mapped local path, else a URL."""

    async def upload(self, source: MediaSource, track: FinishedTrack) -> None:
        """Put a finished track beside the media, once; an answer is no proof that it arrived.

        Raises:
            WriteRefused: The folder cannot be written.
            ServerRefusesUploads: This server cannot take it.
            DiskLow: There is no room.
        """

    async def write_sidecar_file(self, source: MediaSource, name: str, content: bytes) -> bool:
        """Write a file beside the media, over one of that name; False where its folder cannot be reached from here, or may not be written.

        Raises:
            WriteRefused: It may not be written, and there is no other way.
            DiskLow: There is no room.
        """

    async def refresh(self, item_id: ItemId) -> None:
        """Ask the library, in the lightest way, to look at the item's files again."""

    async def delete(self, item_id: ItemId, source: MediaSource, track: SubtitleTrack) -> None:
        """Remove one external track and nothing else; one that is not there is no error.

        Raises:
            WriteRefused: It is still there afterwards.
        """

    @property
    def overwrites(self) -> bool:
        """Whether an upload replaces our earlier file of that name; else it is deleted first."""

    async def close(self) -> None:
        """Let go of connections and threads."""
