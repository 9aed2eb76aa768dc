"""Names in a folder tree: media files, and the files beside a media file."""

import bisect
import itertools
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fluxcaption.domain.errors import ServiceUnreachable
from fluxcaption.domain.media import SubtitleTrack
from fluxcaption.domain.sidecars import read_sidecar_name, suffix_of
from fluxcaption.domain.track_titles import apply_title

SERVICE = "the library folder"
MEDIA_EXTENSIONS = frozenset(
    {".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogm", ".ts", ".webm", ".wmv"}
)
SYSTEM_FOLDERS = frozenset({"lost+found", "$RECYCLE.BIN", "#recycle", "System Volume Information", "@eaDir"})
"""Folders that operating systems keep on a disk, often unreadable for others; never part of a library."""

MAX_CACHED_FOLDERS = 256
MIN_CACHED_AGE_NS = 2 * 10**9
"""A folder that changed more recently may change again without a new modification time; it is not cached."""


def find_media_files(root: Path) -> list[Path]:
    """Return all files below a folder whose extension is that of media, in the order of their names.

    Raises:
        ServiceUnreachable: A folder cannot be read. The files in it must not be taken for deleted.
    """

    def refuse_unreadable(error: OSError) -> None:
        path = os.fsdecode(error.filename or "")
        if isinstance(error, FileNotFoundError) and path != str(root):
            # The folder was deleted during the walk.
            return
        detail = f"{error.strerror}: can the daemon read the folder, and is the disk healthy?"
        raise ServiceUnreachable(SERVICE, displayable(Path(path)), detail) from error

    files = []
    for folder, folder_names, file_names in os.walk(root, onerror=refuse_unreadable):
        # os.walk descends into what remains in this list.
        folder_names[:] = sorted(
            name for name in folder_names if not name.startswith(".") and name not in SYSTEM_FOLDERS
        )
        files += [
            Path(folder, name)
            for name in sorted(file_names)
            if Path(name).suffix.lower() in MEDIA_EXTENSIONS and not name.startswith(".")
        ]
    return files


@dataclass(frozen=True, slots=True)
class _Listing:
    """The names in one folder, sorted without regard to case, at one modification time."""

    changed_at_ns: int
    names: list[str]


class FolderListings:
    """A cache of folder listings, so that a large folder is not read again for each media file in it."""

    def __init__(self) -> None:
        self._listings: dict[Path, _Listing] = {}

    def names_beside(self, media: Path) -> list[str]:
        """Return the names that begin with the media file's stem and a dot, without the media file itself.

        Raises:
            OSError: The folder cannot be read.
        """
        names, prefix = self._names_in(media.parent), f"{media.stem}.".lower()
        first = bisect.bisect_left(names, prefix, key=str.lower)
        matching = itertools.takewhile(
            lambda name: name.lower().startswith(prefix), itertools.islice(names, first, None)
        )
        return [name for name in matching if name != media.name]

    def _names_in(self, folder: Path) -> list[str]:
        changed_at_ns = folder.stat().st_mtime_ns
        cached = self._listings.get(folder)
        if cached is not None and cached.changed_at_ns == changed_at_ns:
            return cached.names
        listing = _Listing(changed_at_ns, sorted(os.listdir(folder), key=str.lower))
        if len(self._listings) >= MAX_CACHED_FOLDERS:
            self._listings.clear()
        if time.time_ns() - changed_at_ns > MIN_CACHED_AGE_NS:
            self._listings[folder] = listing
        return listing.names


def read_sidecars(media: Path, stem: str, names: list[str]) -> Iterator[SubtitleTrack]:
    """Yield the subtitle tracks among the files beside a media file; skip empty and irregular files.

    Args:
        media: The media file.
        stem: Displayable name of the media file without its extension.
        names: Result of `FolderListings.names_beside`.
    """
    for name in names:
        file = media.parent / name
        path = displayable(file)
        if (facts := read_sidecar_name(stem, os.path.basename(path))) is None or not _has_content(file):
            continue
        yield apply_title(
            SubtitleTrack(
                handle=path,
                language=facts.language,
                codec=facts.extension,
                title=facts.title,
                path=path,
                suffix=suffix_of(stem, os.path.basename(path)),
                is_forced=facts.is_forced,
                is_hearing_impaired=facts.is_hearing_impaired,
            )
        )


def _has_content(file: Path) -> bool:
    try:
        status = file.lstat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size > 0


def displayable(path: Path) -> str:
    """Return a path as text that can be stored and shown; differs from the path if its name is not UTF-8."""
    return os.fsencode(path).decode("utf-8", "replace")
