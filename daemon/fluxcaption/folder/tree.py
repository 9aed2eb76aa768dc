"""A folder tree as a media library: each media file is an item, sidecars lie beside it."""

import asyncio
import bisect
import errno
import fcntl
import hashlib
import itertools
import logging
import os
import re
import secrets
import stat
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar, TypeVarTuple, Unpack

from fluxcaption.domain.errors import (
    DiskLow,
    ItemGone,
    JobError,
    MediaUnreadable,
    NameTooLong,
    ServiceUnreachable,
    SubtitleUnreadable,
    WriteRefused,
)
from fluxcaption.domain.media import (
    FinishedTrack,
    Item,
    ItemKind,
    Library,
    MediaSource,
    ServerIdentity,
    SubtitleTrack,
)
from fluxcaption.domain.playback import Playing
from fluxcaption.domain.sidecars import read_sidecar_name, suffix_of
from fluxcaption.domain.track_titles import apply_title
from fluxcaption.domain.units import ItemId, Ms, ServerId, SourceId
from fluxcaption.mounts import Mounts
from fluxcaption.ports.media import MediaLocation, MediaReader
from fluxcaption.ports.media_server import ItemRevision, LibraryScan, ServerCapabilities

log = logging.getLogger(__name__)

MEDIA_EXTENSIONS = frozenset(
    {".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogm", ".ts", ".webm", ".wmv"}
)
NO_LIBRARY = frozenset({"lost+found", "$RECYCLE.BIN", "#recycle", "System Volume Information", "@eaDir"})
"""Folders that systems keep on their disks, often for themselves alone: nobody's films."""

PAGE = 50
MAX_LISTINGS = 256
SETTLED_NS = 2 * 10**9
"""A folder that changed more recently may change again within the same tick of its clock: its names are not kept."""

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")

SUBTITLE_CAP_BYTES = 4 * 2**20

_UNFINISHED = re.compile(r"\.fluxcaption-[0-9a-f]{16}\.unfinished")


class FolderTree:
    """MediaServer over a directory; ids are hashes of the path below the root, so a moved file is a new item."""

    def __init__(self, root: Path, media: MediaReader) -> None:
        self._root = root
        self._media = media
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="folder")
        self._mounts = Mounts()
        self._listings = _Listings()
        self._probed: dict[Path, MediaSource] = {}
        self._server_id = ServerId("folder-" + hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:24])

    async def connect(self) -> ServerIdentity:
        """Make sure the folder is there."""
        if not await self._run(self._root.is_dir):
            raise ServiceUnreachable("the library folder", str(self._root), "it is not there or not a folder")
        return ServerIdentity(self._server_id, self._root.name, "folder")

    async def check_path_map(self) -> str:
        """There is only one path."""
        return ""

    async def libraries(self) -> Sequence[Library]:
        """The folder itself is the only library."""
        await self.connect()
        return [Library(str(self._root), self._root.name)]

    async def items(self, library: Library, since: datetime | None = None) -> AsyncIterator[Sequence[Item]]:
        """Walk the tree in order of names, whatever `since` says: a file that is copied here keeps its old time."""
        paths = await self._run(self._media_files)
        for first in range(0, len(paths), PAGE):
            page = [await self._run(self._describe, path) for path in paths[first : first + PAGE]]
            yield [item for item in page if item is not None]

    async def item_revisions(self, library: Library) -> AsyncIterator[Sequence[ItemRevision]]:
        """Names, sizes and times of the media and of what lies beside it."""
        paths = await self._run(self._media_files)
        for first in range(0, len(paths), PAGE):
            yield [
                ItemRevision(self._id_of(path), etag)
                for path in paths[first : first + PAGE]
                if (etag := await self._run(self._etag, path))
            ]

    async def fetch_items(self, ids: Sequence[ItemId], library: Library | None = None) -> Sequence[Item]:
        """Describe some files again."""
        wanted = set(ids)
        found = [
            await self._run(self._describe, path)
            for path in await self._run(self._media_files)
            if self._id_of(path) in wanted
        ]
        return [item for item in found if item is not None]

    async def episodes_of(self, item_id: ItemId) -> Sequence[ItemId]:
        """Every item is a file."""
        return [item_id]

    async def library_scan(self) -> LibraryScan:
        """Nobody else keeps a list of this folder."""
        return LibraryScan()

    async def trigger_webhook_tasks(self) -> None:
        """Nobody sends any."""

    async def playing(self) -> Sequence[Playing]:
        """Nobody tells."""
        return []

    async def played_since(self, since: datetime) -> Sequence[Playing]:
        """Nobody tells."""
        return []

    async def media_exists(self, source: MediaSource) -> bool:
        """Whether the file is there and not empty."""
        return await self._run(lambda: bool(self._etag(Path(source.path))))

    async def sidecar_path(self, source: MediaSource, name: str) -> Path | None:
        """Beside the media."""
        return Path(source.path).parent / name

    async def fetch_item(self, item_id: ItemId) -> Item:
        """Find the file again by the hash of its path."""
        for path in await self._run(self._media_files):
            if self._id_of(path) == item_id and (item := await self._run(self._describe, path)) is not None:
                return item
        raise ItemGone(item_id)

    async def read_text_track(self, item_id: ItemId, source: MediaSource, track: SubtitleTrack) -> bytes:
        """Read a sidecar; embedded tracks are cut out of the media by the reader port."""
        if track.path is None:
            raise SubtitleUnreadable(source.stem, "an embedded track is not a file")
        return await self._run(_read_bounded, Path(track.path))

    async def locate(self, source: MediaSource) -> MediaLocation:
        """The path itself."""
        return MediaLocation(source.path)

    async def upload(self, source: MediaSource, track: FinishedTrack) -> None:
        """Write the sidecar: temporary name, fsync, rename; a reader sees all of it or nothing."""
        await self._run(write_sidecar, Path(source.path), track.file_name(source.stem), track.content)

    async def write_sidecar(self, source: MediaSource, name: str, content: bytes) -> bool:
        """The same under a name that is given."""
        await self._run(write_sidecar, Path(source.path), name, content)
        return True

    async def refresh(self, item_id: ItemId) -> None:
        """Nothing to do: the tree is read afresh each time."""

    async def delete(self, item_id: ItemId, source: MediaSource, track: SubtitleTrack) -> None:
        """Remove one sidecar."""
        if track.path is not None:
            await self._run(lambda: Path(str(track.path)).unlink(missing_ok=True))

    @property
    def capabilities(self) -> ServerCapabilities:
        """Return the properties of a folder: a rename replaces the file of that name at once."""
        return ServerCapabilities(
            replaces_on_upload=True,
            reports_playback=False,
            can_leave_partial_upload=False,
            has_library_scan=False,
        )

    async def close(self) -> None:
        """Let the thread go."""
        self._thread.shutdown(wait=False)

    async def _run(self, function: Callable[[Unpack[Arguments]], Result], *arguments: *Arguments) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    def _id_of(self, path: Path) -> ItemId:
        return ItemId(
            hashlib.sha256(str(path.relative_to(self._root)).encode(errors="surrogateescape")).hexdigest()[
                :32
            ]
        )

    def _etag(self, path: Path) -> str:
        """Changes when the file or what lies beside it under its name changes; empty when it is not there."""
        try:
            status = path.stat()
            beside = [
                (name, (path.parent / name).lstat().st_mtime_ns) for name in self._listings.beside(path)
            ]
        except OSError:
            return ""
        return hashlib.sha256(
            repr((status.st_mtime_ns, status.st_size, beside)).encode(errors="surrogateescape")
        ).hexdigest()[:32]

    def _media_files(self) -> list[Path]:
        """All that is called like media.

        Raises:
            ServiceUnreachable: A folder cannot be read: nothing may be concluded about what lies in it.
        """
        found = []
        for folder, folders, names in os.walk(self._root, onerror=self._refuse_unreadable):
            folders[:] = sorted(
                name for name in folders if not name.startswith(".") and name not in NO_LIBRARY
            )
            found += [
                Path(folder, name)
                for name in sorted(names)
                if Path(name).suffix.lower() in MEDIA_EXTENSIONS and not name.startswith(".")
            ]
        self._probed = {path: self._probed[path] for path in found if path in self._probed}
        return found

    def _refuse_unreadable(self, error: OSError) -> None:
        path = os.fsdecode(error.filename or "")
        if isinstance(error, FileNotFoundError) and path != str(self._root):
            # It went away during the walk.
            return
        detail = f"{error.strerror}: may the daemon read it, and is its disk well?"
        raise ServiceUnreachable("the library folder", _legible(Path(path)), detail) from error

    def _describe(self, path: Path) -> Item | None:
        try:
            status = path.stat()
        except OSError:
            return None
        source, broken = self._media_source(path, status)
        sidecars = tuple(_sidecars(path, source.stem, self._listings.beside(path)))
        source = replace(source, subtitles=source.subtitles + sidecars, is_remote=self._mounts.is_cloud(path))
        return Item(
            server_id=self._server_id,
            id=self._id_of(path),
            name=source.stem,
            kind=ItemKind.VIDEO,
            library=self._root.name,
            etag=self._etag(path),
            added_at=datetime.fromtimestamp(status.st_mtime, UTC),
            sources=(source,),
            broken=broken,
        )

    def _media_source(self, path: Path, status: os.stat_result) -> tuple[MediaSource, str]:
        """The file with its embedded tracks, and why nothing can be done with it."""
        revision = f"{status.st_mtime_ns}-{status.st_size}"
        known = self._probed.get(path)
        if known is not None and known.revision == revision:
            return known, ""
        bare = MediaSource(SourceId(self._id_of(path)), _legible(path), status.st_size, Ms(0), revision)
        if bare.path != str(path):
            return bare, "its name is not UTF-8 text: rename the file, or the folder it lies in"
        try:
            duration, audio, subtitles = self._media.probe(MediaLocation(str(path)))
        except JobError as error:
            return bare, str(error)
        self._probed[path] = replace(bare, duration_ms=duration, audio=audio, subtitles=subtitles)
        return self._probed[path], ""


class _Listings:
    """Names in a folder, read again when something came or went; a folder of thousands is not read for each file in it."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[int, list[str]]] = {}

    def beside(self, media: Path) -> list[str]:
        """Names that begin with a media file's stem and a dot, without the media itself."""
        changed_at = media.parent.stat().st_mtime_ns
        known = self._known.get(media.parent)
        if known is None or known[0] != changed_at:
            known = (changed_at, sorted(os.listdir(media.parent), key=str.lower))
            if len(self._known) >= MAX_LISTINGS:
                self._known.clear()
            if time.time_ns() - changed_at > SETTLED_NS:
                self._known[media.parent] = known
        names, start = known[1], f"{media.stem}.".lower()
        first = bisect.bisect_left(names, start, key=str.lower)
        found = itertools.takewhile(
            lambda name: name.lower().startswith(start), itertools.islice(names, first, None)
        )
        return [name for name in found if name != media.name]


def _legible(path: Path) -> str:
    """A path as text that can be stored and shown; another than the path where its bytes are no UTF-8."""
    return os.fsencode(path).decode("utf-8", "replace")


def _sidecars(path: Path, stem: str, names: Sequence[str]) -> Iterator[SubtitleTrack]:
    for name in names:
        file = path.parent / name
        legible = _legible(file)
        if (facts := read_sidecar_name(stem, os.path.basename(legible))) is None:
            continue
        try:
            status = file.lstat()
        except OSError:
            continue
        if not stat.S_ISREG(status.st_mode) or status.st_size == 0:
            continue
        yield apply_title(
            SubtitleTrack(
                handle=legible,
                language=facts.language,
                codec=facts.extension,
                title=facts.title,
                path=legible,
                suffix=suffix_of(stem, os.path.basename(legible)),
                is_forced=facts.is_forced,
                is_hearing_impaired=facts.is_hearing_impaired,
            )
        )


def _read_bounded(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(SUBTITLE_CAP_BYTES + 1)
    except OSError as error:
        raise SubtitleUnreadable(path.name, error.strerror or "unreadable") from error
    if len(content) > SUBTITLE_CAP_BYTES:
        raise SubtitleUnreadable(path.name, "it is larger than 4 MiB")
    return content


def write_sidecar(media: Path, name: str, content: bytes) -> None:
    """Write a file beside a media file so that nobody ever sees half of it.

    Raises:
        MediaUnreadable: The media is not there (a folder that lost its mount is never written to).
        WriteRefused: The folder cannot be written.
        DiskLow: There is no room.
    """
    if not media.exists():
        raise MediaUnreadable(media.name, "it is not there any more; is its disk mounted?")
    write_file(media.parent / name, content)
    give_owner_of(media, media.parent / name)


def give_owner_of(media: Path, file: Path) -> None:
    """Give a sidecar the owner and the rights of its media, so that the library can read and remove it; said once where that may not be."""
    refused: OSError | None = None
    try:
        status, own = media.stat(), file.stat()
        if (own.st_uid, own.st_gid) != (status.st_uid, status.st_gid):
            # A daemon that may not give the file away can still let others read it.
            try:
                os.chown(file, status.st_uid, status.st_gid)
            except OSError as error:
                refused = error
        if stat.S_IMODE(own.st_mode) != status.st_mode & 0o666:
            file.chmod(status.st_mode & 0o666)
    except OSError as error:
        refused = error
    if refused is not None and str(media.parent) not in _said_owner:
        _said_owner.add(str(media.parent))
        log.warning(
            "a subtitle could not be given the owner and rights of its film: %s",
            refused.strerror,
            extra={"folder": str(media.parent)},
        )


_said_owner: set[str] = set()


def write_file(target: Path, content: bytes) -> None:
    """Write a file by a temporary name, fsync and rename; its folder is made if need be.

    Raises:
        WriteRefused: The folder cannot be written.
        DiskLow: There is no room.
        NameTooLong: The file system takes no such name.
    """
    # Short whatever the target is called: a file system takes 255 bytes.
    unfinished = target.parent / f".fluxcaption-{secrets.token_hex(8)}.unfinished"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_what_a_crash_left(target.parent)
        with open(
            os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666), "wb"
        ) as file:
            with suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            unfinished.replace(target)
    except OSError as error:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise DiskLow(str(target.parent)) from error
        if error.errno == errno.ENAMETOOLONG:
            raise NameTooLong(target.name) from error
        raise WriteRefused(str(target), error.strerror or type(error).__name__) from error
    # The file is there; that some network mounts cannot sync a folder takes nothing away.
    with suppress(OSError):
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _remove_what_a_crash_left(folder: Path) -> None:
    """Remove unfinished files whose writer is gone: a living one holds a lock on its own."""
    left: list[str] = []
    with suppress(OSError):
        left += filter(_UNFINISHED.fullmatch, os.listdir(folder))
    for name in left:
        with suppress(OSError), open(os.open(folder / name, os.O_RDWR | os.O_NOFOLLOW), "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            (folder / name).unlink()
