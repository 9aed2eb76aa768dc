"""A folder tree as a media library: each media file is an item, subtitles are files beside it."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import TypeVar, TypeVarTuple, Unpack

from fluxcaption.domain.errors import ItemGone, ServiceUnreachable, SubtitleUnreadable
from fluxcaption.domain.media import FinishedTrack, Item, Library, MediaSource, ServerIdentity, SubtitleTrack
from fluxcaption.domain.playback import Playing
from fluxcaption.domain.units import ItemId, ServerId
from fluxcaption.folder.atomic_write import write_sidecar
from fluxcaption.folder.items import FolderItems
from fluxcaption.folder.listing import SERVICE
from fluxcaption.mounts import Mounts
from fluxcaption.ports.media import MediaLocation, MediaReader
from fluxcaption.ports.media_server import ItemRevision, LibraryScan
from fluxcaption.ports.subtitles import MAX_SUBTITLE_BYTES

PAGE_SIZE = 50

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


class FolderTree:
    """MediaServer over a directory; ids are hashes of the path below the root, so a moved file is a new item.

    All file access runs on one thread of its own; `close` ends the thread.
    """

    def __init__(self, root: Path, media: MediaReader, mounts: Mounts | None = None) -> None:
        """Create the adapter without reading the folder.

        Args:
            root: The library folder.
            media: Reads the tracks of a media file.
            mounts: Table of mounts; the system's own by default.
        """
        self._root = root
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="folder")
        self._server_id = ServerId("folder-" + hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:24])
        self._items = FolderItems(root, self._server_id, media, mounts or Mounts())

    async def connect(self) -> ServerIdentity:
        """Check that the folder exists."""
        if not await self._run(self._root.is_dir):
            raise ServiceUnreachable(SERVICE, str(self._root), "the path does not exist or is not a folder")
        return ServerIdentity(self._server_id, self._root.name, "folder")

    async def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False)

    async def check_path_map(self) -> str:
        """Return an empty text: paths are not mapped."""
        return ""

    async def libraries(self) -> Sequence[Library]:
        """Return the folder itself as the only library."""
        await self.connect()
        return [Library(str(self._root), self._root.name)]

    async def items(self, library: Library, since: datetime | None = None) -> AsyncIterator[Sequence[Item]]:
        """Read all items in the order of their names.

        `since` is ignored, because a file that is copied into the folder keeps its old time.
        """
        async for paths in self._media_file_pages():
            page = [await self._run(self._items.describe, path) for path in paths]
            yield [item for item in page if item is not None]

    async def item_revisions(self, library: Library) -> AsyncIterator[Sequence[ItemRevision]]:
        """Read ids and Etags; the Etag covers the media file and the files beside it."""
        async for paths in self._media_file_pages():
            yield [
                ItemRevision(self._items.id_of(path), etag)
                for path in paths
                if (etag := await self._run(self._items.etag, path))
            ]

    async def fetch_items(self, ids: Sequence[ItemId], library: Library | None = None) -> Sequence[Item]:
        """Read items by id; items that no longer exist are left out."""
        requested = set(ids)
        items = [
            await self._run(self._items.describe, path)
            for path in await self._run(self._items.media_files)
            if self._items.id_of(path) in requested
        ]
        return [item for item in items if item is not None]

    async def fetch_item(self, item_id: ItemId) -> Item:
        """Read one item; walks the tree to find the path of the id.

        Raises:
            ItemGone: No media file has this id.
        """
        for path in await self._run(self._items.media_files):
            if (
                self._items.id_of(path) == item_id
                and (item := await self._run(self._items.describe, path)) is not None
            ):
                return item
        raise ItemGone(item_id)

    async def episodes_of(self, item_id: ItemId) -> Sequence[ItemId]:
        """Return the id itself: a folder tree has no series."""
        return [item_id]

    async def library_scan(self) -> LibraryScan:
        """Return an idle scan: a folder tree has no index of its own."""
        return LibraryScan()

    async def trigger_webhook_tasks(self) -> None:
        """Do nothing: a folder tree sends no events."""

    async def playing(self) -> Sequence[Playing]:
        """Return nothing: a folder tree does not report playbacks."""
        return []

    async def played_since(self, since: datetime) -> Sequence[Playing]:
        """Return nothing: a folder tree does not report playbacks."""
        return []

    async def media_exists(self, source: MediaSource) -> bool:
        """Return True if the media file can be seen."""
        return await self._run(lambda: bool(self._items.etag(Path(source.path))))

    async def sidecar_path(self, source: MediaSource, name: str) -> Path | None:
        """Return the path of a file beside the media."""
        return Path(source.path).parent / name

    async def read_text_track(self, item_id: ItemId, source: MediaSource, track: SubtitleTrack) -> bytes:
        """Return the content of a sidecar.

        Raises:
            SubtitleUnreadable: The track is embedded, or the file is unreadable or larger than 4 MiB.
        """
        if track.path is None:
            raise SubtitleUnreadable(source.stem, "an embedded track is read from the media file")
        return await self._run(_read_subtitle, Path(track.path))

    async def locate(self, source: MediaSource) -> MediaLocation:
        """Return the path of the media file."""
        return MediaLocation(source.path)

    async def upload(self, source: MediaSource, track: FinishedTrack) -> None:
        """Write the track as a sidecar, atomically."""
        await self._run(write_sidecar, Path(source.path), track.file_name(source.stem), track.content)

    async def write_sidecar_file(self, source: MediaSource, name: str, content: bytes) -> bool:
        """Write a file beside the media, atomically; always possible, so the result is True."""
        await self._run(write_sidecar, Path(source.path), name, content)
        return True

    async def refresh(self, item_id: ItemId) -> None:
        """Do nothing: each read looks at the disk."""

    async def delete(self, item_id: ItemId, source: MediaSource, track: SubtitleTrack) -> None:
        """Delete a sidecar; a missing file is not an error."""
        if track.path is not None:
            await self._run(lambda: Path(str(track.path)).unlink(missing_ok=True))

    @property
    def overwrites(self) -> bool:
        """Return True: the rename at the end of a write replaces the file of that name."""
        return True

    async def _run(self, function: Callable[[Unpack[Arguments]], Result], *arguments: *Arguments) -> Result:
        """Run a blocking function on the adapter's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    async def _media_file_pages(self) -> AsyncIterator[Sequence[Path]]:
        paths = await self._run(self._items.media_files)
        for first in range(0, len(paths), PAGE_SIZE):
            yield paths[first : first + PAGE_SIZE]


def _read_subtitle(path: Path) -> bytes:
    """Return the content of a subtitle file.

    Raises:
        SubtitleUnreadable: The file cannot be read, or is larger than 4 MiB.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SUBTITLE_BYTES + 1)
    except OSError as error:
        raise SubtitleUnreadable(path.name, error.strerror or "unreadable") from error
    if len(content) > MAX_SUBTITLE_BYTES:
        raise SubtitleUnreadable(path.name, f"the file is larger than {MAX_SUBTITLE_BYTES // 2**20} MiB")
    return content
