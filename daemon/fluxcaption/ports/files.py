"""Protocols of functions that write files as a whole or not at all."""

from pathlib import Path
from typing import Protocol


class FileWriter(Protocol):
    """A function that writes one file; readers see the old or the new content, never a part."""

    def __call__(self, target: Path, content: bytes, /) -> None:
        """Write or replace a file; blocks.

        Raises:
            WriteRefused: The folder cannot be written.
            DiskLow: There is no room for the file.
        """


class SidecarWriter(Protocol):
    """A function that writes one file beside a media file."""

    def __call__(self, media: Path, name: str, content: bytes, /) -> None:
        """Write or replace the file `name` beside `media`, with the owner and mode of the media file; blocks.

        Raises:
            WriteRefused: The folder cannot be written.
            DiskLow: There is no room for the file.
        """
