"""Atomic file writing: a reader sees the complete old file or the complete new file.

A file is written under a temporary name, synced and renamed. The writer holds a lock on its temporary file.
The temporary files of a crashed process have no lock, and the next write into the folder removes them.
"""

import errno
import fcntl
import logging
import os
import re
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from fluxcaption.domain.errors import DiskLow, JobError, MediaUnreadable, NameTooLong, WriteRefused

log = logging.getLogger(__name__)

_TEMPORARY_NAME = re.compile(r"\.fluxcaption-[0-9a-f]{16}\.unfinished")

_folders_with_warning: set[str] = set()
"""Folders for which the warning about owner and mode was logged; once for each folder and process."""


def write_sidecar(media: Path, name: str, content: bytes) -> None:
    """Write a file beside a media file, with the media file's owner and mode. Blocks.

    Raises:
        MediaUnreadable: The media file is missing. A folder whose mount is lost must not be written to.
        WriteRefused: The folder cannot be written.
        DiskLow: The disk is full.
        NameTooLong: The file system does not accept the name.
    """
    if not media.exists():
        raise MediaUnreadable(media.name, "the file does not exist any more: is its disk mounted?")
    target = media.parent / name
    write_file(target, content)
    copy_owner_and_mode(media, target)


def write_file(target: Path, content: bytes) -> None:
    """Write or replace a file; create its folder if it is missing. Blocks.

    Raises:
        WriteRefused: The folder cannot be written.
        DiskLow: The disk is full.
        NameTooLong: The file system does not accept the name.
    """
    # The temporary name is short whatever the target's name is, because file systems accept 255 bytes.
    temporary = target.parent / f".fluxcaption-{secrets.token_hex(8)}.unfinished"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(target.parent)
        _write_and_rename(temporary, target, content)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise _write_error(target, error) from error
    _sync_folder(target.parent)


def copy_owner_and_mode(media: Path, file: Path) -> None:
    """Give a sidecar the owner and the read and write permissions of its media.

    The media server can then read and delete the sidecar. A refusal is logged once for each folder.
    """
    refusal: OSError | None = None
    try:
        wanted, current = media.stat(), file.stat()
        if (current.st_uid, current.st_gid) != (wanted.st_uid, wanted.st_gid):
            # Without the right to change the owner, the daemon can still open the file to others below.
            try:
                os.chown(file, wanted.st_uid, wanted.st_gid)
            except OSError as error:
                refusal = error
        if stat.S_IMODE(current.st_mode) != wanted.st_mode & 0o666:
            file.chmod(wanted.st_mode & 0o666)
    except OSError as error:
        refusal = error
    folder = str(media.parent)
    if refusal is not None and folder not in _folders_with_warning:
        _folders_with_warning.add(folder)
        log.warning(
            "a subtitle file did not get the owner and mode of its media: %s. "
            "Run the daemon as the owner of the media, or in its group",
            refusal.strerror,
            extra={"folder": folder},
        )


def _write_and_rename(temporary: Path, target: Path, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with open(os.open(temporary, flags, 0o666), "wb") as file:
        # Some network file systems have no locks.
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        temporary.replace(target)


def _write_error(target: Path, error: OSError) -> JobError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return DiskLow(str(target.parent))
    if error.errno == errno.ENAMETOOLONG:
        return NameTooLong(target.name)
    return WriteRefused(str(target), error.strerror or type(error).__name__)


def _sync_folder(folder: Path) -> None:
    """Sync a rename to the disk; ignore errors, because some network file systems cannot sync a folder."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remove_leftovers(folder: Path) -> None:
    """Remove temporary files whose writer no longer holds a lock."""
    names: list[str] = []
    with suppress(OSError):
        names += filter(_TEMPORARY_NAME.fullmatch, os.listdir(folder))
    for name in names:
        with suppress(OSError), open(os.open(folder / name, os.O_RDWR | os.O_NOFOLLOW), "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            (folder / name).unlink()
