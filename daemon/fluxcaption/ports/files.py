"""Atomic file writing."""

from pathlib import Path
from typing import Protocol


class FileWriter(Protocol):
    """Writes a file so that nobody ever sees half of it."""

    def __call__(self, target: Path, content: bytes, /) -> None:
        """Write or replace it; blocking.

        Raises:
            WriteRefused: The folder cannot be written.
            DiskLow: There is no room.
        """


class SidecarWriter(Protocol):
    """Writes a file beside a media file."""

    def __call__(self, media: Path, name: str, content: bytes, /) -> None:
        """Write or replace it, with the media's owner and rights; blocking, raises as a FileWriter does."""
