"""Mapping of the server's file paths to local paths."""

import re
from collections.abc import Sequence
from pathlib import Path

from fluxcaption.domain.media import MediaSource
from fluxcaption.mounts import Mounts
from fluxcaption.settings import JellyfinConfig

PathPairs = Sequence[tuple[str, Path]]
"""Server folders with the local folders they are mapped to."""

_WINDOWS = re.compile(r"[A-Za-z]:/|//")
"""Start of a Windows drive or network share, where `D:\\Films` and `d:/films` are the same folder."""


def path_pairs(settings: JellyfinConfig) -> PathPairs:
    """Return the pairs of `server.path_map`."""
    return [(pair.server, pair.local) for pair in settings.path_map]


def local_path(server_path: str, pairs: PathPairs) -> Path | None:
    """Translate a server path by the longest server folder that contains it; None if no pair contains it.

    Backslashes and slashes are equal. A path that would leave the local folder is not translated.
    """
    path = server_path.replace("\\", "/")
    best: tuple[str, Path] | None = None
    for server_folder, local_folder in pairs:
        prefix = server_folder.replace("\\", "/").rstrip("/") + "/"
        start = path[: len(prefix)]
        is_below = start == prefix or (_WINDOWS.match(prefix) is not None and start.lower() == prefix.lower())
        if is_below and (best is None or len(prefix) > len(best[0])):
            best = (prefix, local_folder)
    if best is None:
        return None
    relative = path[len(best[0]) :]
    return None if relative.startswith("/") or ".." in relative.split("/") else best[1] / relative


class PathMap:
    """The configured path map, and the local files that it leads to."""

    def __init__(self, settings: JellyfinConfig, mounts: Mounts) -> None:
        self._pairs = path_pairs(settings)
        self._mounts = mounts

    @property
    def is_empty(self) -> bool:
        """Return True if no folder is mapped."""
        return not self._pairs

    def local_path(self, source: MediaSource) -> Path | None:
        """Return the mapped path of a media source, whether or not a file exists there."""
        return local_path(source.path, self._pairs)

    def local_file(self, source: MediaSource) -> Path | None:
        """Return the mapped file of a media source; None if it is missing or has another size. Blocks."""
        path = self.local_path(source)
        try:
            return path if path is not None and path.stat().st_size == source.size_bytes else None
        except OSError:
            return None

    def is_on_cloud_storage(self, source: MediaSource) -> bool:
        """Return True if the mapped path of a media source is on a cloud mount. Blocks."""
        path = self.local_path(source)
        return path is not None and self._mounts.is_cloud(path)
