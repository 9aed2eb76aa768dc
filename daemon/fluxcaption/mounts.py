"""Recognition of mounted cloud storage, where reading a file means downloading it."""

import os
import time
from pathlib import Path

MOUNT_TABLE = Path("/proc/self/mountinfo")
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
"""File system types whose reads may cost money or count against a quota; NFS and SMB are not among them."""

REFRESH_INTERVAL_S = 60.0


class Mounts:
    """The system's table of mounts, read again after `REFRESH_INTERVAL_S`."""

    def __init__(self, table: Path = MOUNT_TABLE) -> None:
        self._table = table
        self._read_at_s = -REFRESH_INTERVAL_S
        self._types: dict[str, str] = {}

    def is_cloud(self, path: Path) -> bool:
        """Return True if a path is on cloud storage; links are followed. Blocks.

        False on systems without a mount table.
        """
        return self._type_of(path) in CLOUD_TYPES

    def _type_of(self, path: Path) -> str:
        """Return the file system type of the innermost mount that contains a path; empty if unknown."""
        if time.monotonic() - self._read_at_s >= REFRESH_INTERVAL_S:
            self._types, self._read_at_s = _read_types(self._table), time.monotonic()
        folder = os.path.realpath(path)
        while True:
            if (file_system := self._types.get(folder)) is not None:
                return file_system
            parent = os.path.dirname(folder)
            if parent == folder:
                return ""
            folder = parent


def _read_types(table: Path) -> dict[str, str]:
    """Return the file system type of each mount, by its folder; empty if the table cannot be read.

    Source: proc(5), mountinfo: the folder is the fifth field, the type is the first field after ` - `.
    """
    try:
        lines = table.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return {}
    types: dict[str, str] = {}
    for line in lines:
        mount, _, file_system = line.partition(" - ")
        fields = mount.split()
        if len(fields) > 4 and file_system:
            types[fields[4].replace("\\040", " ")] = file_system.split()[0]
    return types
