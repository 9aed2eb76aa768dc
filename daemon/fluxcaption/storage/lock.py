"""Lock of the state directory: one process writes to it."""

import fcntl
import os
from pathlib import Path

from fluxcaption.domain.errors import StateError


class StateLock:
    """Lock of the process that writes to a state directory; released by the kernel when the process ends."""

    def __init__(self, state: Path) -> None:
        self._path = state / "lock"
        self._file: int | None = None

    def take(self) -> None:
        """Take the lock and write the process id into its file.

        Raises:
            StateError: The directory cannot be written, or another process holds the lock.
        """
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StateError(
                f"{self._path.parent} cannot be used as state ({error.strerror}):"
                " set `state` to a folder that can be written"
            ) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(file, 20).decode(errors="replace").strip()
            os.close(file)
            raise StateError(
                f"{self._path.parent} is used by another FluxCaption"
                f" (process {holder or 'unknown'}): stop it first"
            ) from error
        os.ftruncate(file, 0)
        os.write(file, f"{os.getpid()}\n".encode())
        self._file = file

    def release(self) -> None:
        """Release the lock if it is held."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
