"""Items of a folder tree: ids, Etags and descriptions of media files. Every method blocks."""

import hashlib
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from fluxcaption.domain.errors import JobError
from fluxcaption.domain.media import Item, ItemKind, MediaSource
from fluxcaption.domain.units import ItemId, Ms, ServerId, SourceId
from fluxcaption.folder.listing import FolderListings, displayable, find_media_files, read_sidecars
from fluxcaption.mounts import Mounts
from fluxcaption.ports.media import MediaLocation, MediaReader


class FolderItems:
    """Describes media files as items; opens a file again only when its size or time has changed."""

    def __init__(self, root: Path, server_id: ServerId, media: MediaReader, mounts: Mounts) -> None:
        self._root = root
        self._server_id = server_id
        self._media = media
        self._mounts = mounts
        self._listings = FolderListings()
        self._probed: dict[Path, MediaSource] = {}

    def media_files(self) -> list[Path]:
        """Return all media files in the order of their names, and forget the tracks of deleted files.

        Raises:
            ServiceUnreachable: A folder cannot be read.
        """
        paths = find_media_files(self._root)
        self._probed = {path: self._probed[path] for path in paths if path in self._probed}
        return paths

    def id_of(self, path: Path) -> ItemId:
        """Return the id of a media file: a hash of its path below the root."""
        return ItemId(_short_hash(str(path.relative_to(self._root))))

    def etag(self, path: Path) -> str:
        """Return a text that changes with the file and the files beside it; empty if the file is missing."""
        try:
            status = path.stat()
            sidecar_times = [
                (name, (path.parent / name).lstat().st_mtime_ns) for name in self._listings.names_beside(path)
            ]
        except OSError:
            return ""
        return _short_hash(repr((status.st_mtime_ns, status.st_size, sidecar_times)))

    def describe(self, path: Path) -> Item | None:
        """Return the item of a media file with all its tracks; None if the file is missing."""
        try:
            status = path.stat()
            names = self._listings.names_beside(path)
        except OSError:
            return None
        source, fault = self._media_source(path, status)
        sidecars = tuple(read_sidecars(path, source.stem, names))
        source = replace(source, subtitles=source.subtitles + sidecars, is_remote=self._mounts.is_cloud(path))
        return Item(
            server_id=self._server_id,
            id=self.id_of(path),
            name=source.stem,
            kind=ItemKind.VIDEO,
            library=self._root.name,
            etag=self.etag(path),
            added_at=datetime.fromtimestamp(status.st_mtime, UTC),
            sources=(source,),
            broken=fault,
        )

    def _media_source(self, path: Path, status: os.stat_result) -> tuple[MediaSource, str]:
        """Return the file with its embedded tracks, and the fault that makes the file unusable."""
        revision = f"{status.st_mtime_ns}-{status.st_size}"
        probed = self._probed.get(path)
        if probed is not None and probed.revision == revision:
            return probed, ""
        unprobed = MediaSource(SourceId(self.id_of(path)), displayable(path), status.st_size, Ms(0), revision)
        if unprobed.path != str(path):
            return unprobed, "the name of the file or of its folder is not UTF-8 text: rename it"
        try:
            duration_ms, audio, subtitles = self._media.probe(MediaLocation(str(path)))
        except JobError as error:
            return unprobed, str(error)
        source = replace(unprobed, duration_ms=duration_ms, audio=audio, subtitles=subtitles)
        self._probed[path] = source
        return source, ""


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:32]
