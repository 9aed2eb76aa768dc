"""Opening media containers with PyAV; errors of FFmpeg become domain errors.

FFmpeg opens any file or address that a media file names, such as the entries of a playlist. The protocol
whitelist therefore allows local files only, and nothing at all for bytes that come over HTTP
(notes/libraries.md L7).
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from fluxcaption.domain.errors import JobError, MediaUnreadable
from fluxcaption.domain.units import Ms
from fluxcaption.media.remote import RemoteFile
from fluxcaption.ports.media import MediaLocation

AVDISCARD_ALL = 48
"""Value of `AVDISCARD_ALL` in FFmpeg's `libavcodec/defs.h`: the demuxer skips every packet of the stream."""

MAX_DETAIL_CHARS = 120
PYAV_WITH_SURROGATES = 19
"""First major version of PyAV that reads metadata outside UTF-8 without an option."""


@contextmanager
def open_container(location: MediaLocation) -> Iterator[Any]:
    """Open a media file or URL as a PyAV container and close it at the end.

    Raises:
        MediaUnreadable: The file is missing, not a regular file, not readable, or not media.
        ServiceUnreachable: The server of a URL stopped answering.
        KeyRejected: The server of a URL rejects the key.
    """
    import av
    from av.error import FFmpegError

    with RemoteFile(location) if location.is_remote else nullcontext() as remote:
        options = {"protocol_whitelist": "file" if remote is None else "none"}
        try:
            # Opening a pipe blocks until something writes to it.
            if remote is None and (path := Path(location.address)).exists() and not path.is_file():
                raise MediaUnreadable(display_name(location), "it is not a regular file")
            source = f"file:{location.address}" if remote is None else remote
            with av.open(source, options=options, **_metadata_options()) as container:
                yield container
        except JobError:
            raise
        except (FFmpegError, OSError, EOFError) as error:
            failure = remote.failure if remote is not None else None
            raise failure or as_domain_error(location, error) from error
        # FFmpeg may take a failed read for the end of the file.
        if remote is not None and remote.failure is not None:
            raise remote.failure


def as_domain_error(location: MediaLocation, error: Exception) -> MediaUnreadable:
    """Return the domain error for an error of FFmpeg or of the file system."""
    name = display_name(location)
    with suppress(OSError):
        if not location.is_remote and os.stat(location.address).st_size == 0:
            return MediaUnreadable(name, "it is empty. Copy it again.")
    code = getattr(error, "errno", None)
    if code == errno.ENOENT:
        return MediaUnreadable(name, "it does not exist. Check that its disk is mounted.")
    if code in {errno.EACCES, errno.EPERM}:
        return MediaUnreadable(name, "permission to read it is denied. Give the daemon read access.")
    detail = (getattr(error, "strerror", None) or str(error)).splitlines()[0][:MAX_DETAIL_CHARS]
    return MediaUnreadable(
        name, f"it is not a media file or is damaged ({detail}). Copy it again or remove it from the library."
    )


def display_name(location: MediaLocation) -> str:
    """Return the file name of a path, or a URL without its query."""
    address = location.address.split("?", 1)[0]
    return address if location.is_remote else address.rsplit("/", 1)[-1]


def duration_ms(container: Any) -> Ms:
    """Return the length that the container states, else that of its longest stream, in ms; 0 if unknown."""
    if container.duration:
        return Ms(int(container.duration // 1000))
    lengths_s = [
        stream.duration * stream.time_base
        for stream in container.streams
        if stream.duration and stream.time_base
    ]
    return Ms(int(max(lengths_s, default=0) * 1000))


def start_time_s(container: Any) -> float:
    """Return the time stamp of the container's first packet in seconds, which players show as 0:00."""
    return float((container.start_time or 0) / 1e6)


def discard_other_streams(container: Any, stream: Any) -> None:
    """Let the demuxer skip all streams but one, if this version of PyAV can."""
    for other in container.streams:
        if other is not stream:
            with suppress(ValueError, AttributeError):
                other.discard = AVDISCARD_ALL


def _metadata_options() -> dict[str, Any]:
    """Return the options that keep PyAV from failing on titles that are not UTF-8."""
    import av

    major = int(av.__version__.split(".")[0])
    return {"metadata_errors": "surrogateescape"} if major < PYAV_WITH_SURROGATES else {}
