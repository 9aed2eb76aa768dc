"""Which folders are cloud storage mounted as if it were a disk: reading a film there means downloading it."""

import os
import time
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
CLOUD_TYPES = frozenset(
    {
        "fuse.rclone",
        "fuse.google-drive-ocamlfuse",
        "fuse.onedriver",
        "fuse.s3fs",
        "fuse.gcsfuse",
        "fuse.blobfuse2",
        "fuse.juicefs",
        "fuse.zurg",
        "fuse.pcloud",
    }
)
"""File systems whose bytes are fetched from afar for money or quota; NFS and SMB are ordinary."""

KEPT_S = 60.0


class Mounts:
    """The table of mounts, read again once a minute."""

    def __init__(self, table: Path = MOUNTS) -> None:
        self._table = table
        self._read_at = -KEPT_S
        self._by_folder: dict[str, str] = {}

    def is_cloud(self, path: Path) -> bool:
        """Whether a path lies on cloud storage, links followed; no where the system does not say. Looks at the disk, so it may block."""
        return self._type_of(path) in CLOUD_TYPES

    def _type_of(self, path: Path) -> str:
        if time.monotonic() - self._read_at >= KEPT_S:
            self._by_folder, self._read_at = _read(self._table), time.monotonic()
        folder = os.path.realpath(path)
        while True:
            if (kind := self._by_folder.get(folder)) is not None:
                return kind
            parent = os.path.dirname(folder)
            if parent == folder:
                return ""
            folder = parent


def _read(table: Path) -> dict[str, str]:
    try:
        lines = table.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return {}
    found: dict[str, str] = {}
    for line in lines:
        before, _, after = line.partition(" - ")
        fields = before.split()
        if len(fields) > 4 and after:
            found[fields[4].replace("\\040", " ")] = after.split()[0]
    return found
