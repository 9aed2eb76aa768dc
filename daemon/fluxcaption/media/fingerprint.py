"""Fingerprint of a media file: size, duration and three ranged reads; independent of name and location."""

import hashlib
from pathlib import Path

from fluxcaption.domain.errors import MediaUnreadable
from fluxcaption.domain.media import MediaIdentity
from fluxcaption.domain.units import Fingerprint, Ms
from fluxcaption.media.remote import FIRST_CHUNK_BYTES, RemoteFile
from fluxcaption.ports.media import MediaLocation

READ_BYTES = FIRST_CHUNK_BYTES
"""Length of each of the three reads; a remote read of this length is a single request."""


def identify(location: MediaLocation, duration_ms: Ms) -> MediaIdentity:
    """Hash size, duration and `READ_BYTES` each from the start, the middle and the end of a file.

    Raises:
        MediaUnreadable: The file is missing, not readable, or empty.
        ServiceUnreachable: The server of a URL gave no usable answer.
        KeyRejected: The server of a URL rejects the key.
    """
    size, pieces = _read_remote(location) if location.is_remote else _read_local(Path(location.address))
    digest = hashlib.sha256(f"{size}:{duration_ms}:".encode())
    for piece in pieces:
        digest.update(piece)
    return MediaIdentity(Fingerprint(digest.hexdigest()), size, duration_ms)


def _offsets(size: int) -> tuple[int, ...]:
    return (0, max(0, size // 2 - READ_BYTES // 2), max(0, size - READ_BYTES))


def _read_local(path: Path) -> tuple[int, list[bytes]]:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            if size == 0:
                raise MediaUnreadable(path.name, "it is empty. Copy it again.")
            pieces = []
            for offset in _offsets(size):
                file.seek(offset)
                pieces.append(file.read(READ_BYTES))
            return size, pieces
    except OSError as error:
        raise MediaUnreadable(path.name, f"it cannot be read ({error.strerror})") from error


def _read_remote(location: MediaLocation) -> tuple[int, list[bytes]]:
    with RemoteFile(location) as file:
        pieces = []
        for offset in _offsets(file.size_bytes):
            file.seek(offset)
            piece = b""
            while len(piece) < READ_BYTES and (part := file.read(READ_BYTES - len(piece))):
                piece += part
            pieces.append(piece)
        return file.size_bytes, pieces
