"""What tells one media file from another without its name: size, duration and three ranged reads."""

import hashlib
import urllib.error
import urllib.request
from pathlib import Path

from fluxcaption.domain.errors import KeyRejected, MediaUnreadable, ServiceUnreachable
from fluxcaption.domain.media import MediaIdentity, MediaLocation
from fluxcaption.domain.units import Fingerprint, Ms

READ_BYTES = 256 * 1024
TIMEOUT_S = 60


def identify(location: MediaLocation, duration_ms: Ms) -> MediaIdentity:
    """Read the start, the middle and the end of a file, over HTTP too, and hash them with its size and length."""
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
                raise MediaUnreadable(path.name, "it is empty")
            pieces = []
            for offset in _offsets(size):
                file.seek(offset)
                pieces.append(file.read(READ_BYTES))
            return size, pieces
    except OSError as error:
        raise MediaUnreadable(path.name, f"it cannot be read ({error.strerror})") from error


def _read_remote(location: MediaLocation) -> tuple[int, list[bytes]]:
    first, size = _fetch(location, 0)
    if size == 0:
        raise MediaUnreadable(location.address.split("?", 1)[0], "it is empty")
    return size, [first, *(_fetch(location, offset)[0] for offset in _offsets(size)[1:])]


def _fetch(location: MediaLocation, offset: int) -> tuple[bytes, int]:
    """One ranged read and the whole size."""
    where = location.address.split("?", 1)[0]
    request = urllib.request.Request(location.address, headers={**dict(location.headers), "Range": f"bytes={offset}-{offset + READ_BYTES - 1}"})  # noqa: S310 http(s) only, by MediaLocation
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
            if answer.status != 206:
                raise ServiceUnreachable("the media stream", where, "it does not serve ranges; does a proxy strip the Range header?")
            return answer.read(READ_BYTES), int(answer.headers.get("Content-Range", "/0").rsplit("/", 1)[-1])
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in {401, 403}:
            raise KeyRejected("the media stream", where) from error
        if error.code in {404, 416}:
            raise MediaUnreadable(where, "the server does not find it") from error
        raise ServiceUnreachable("the media stream", where, f"status {error.code}") from error
    except (OSError, ValueError) as error:
        raise ServiceUnreachable("the media stream", where, str(error)) from error
