"""Media behind HTTP ranges, read like a local file; the only place where media bytes cross a network.

FFmpeg's own HTTP is not used: it checks no certificate, and sends the key on to wherever it is redirected. Short requests instead of one that lasts as
long as the film is heard: servers and proxies cut connections that wait for a slow reader.
"""

import time
from types import TracebackType
from typing import Self

import requests

from fluxcaption.domain.errors import JobError, KeyRejected, MediaUnreadable, ServiceUnreachable
from fluxcaption.ports.media import MediaLocation

SERVICE = "the media stream"
FIRST_CHUNK_BYTES, MAX_CHUNK_BYTES = 256 * 1024, 4 * 2**20
"""After a jump so much is fetched, then twice as much each time: sparse tracks need little of a large file."""

TIMEOUT_S = (10.0, 60.0)
RETRY_PAUSES_S = (0.2, 2.0, 8.0, 20.0)
"""A read that worked before is tried again after these."""


class RemoteFile:
    """The `read`, `seek` and `detect` of a file; every method blocks.

    Raises:
        ServiceUnreachable: No answer, a redirect, an untrusted certificate, or no ranges.
        KeyRejected: The key is not accepted.
        MediaUnreadable: The server does not find it, or it is empty.
    """

    def __init__(self, location: MediaLocation) -> None:
        self._location = location
        self._where = location.address.split("?", 1)[0]
        self._session = requests.Session()
        self._session.trust_env = False
        self._position = 0
        self._chunk_bytes = FIRST_CHUNK_BYTES
        self.size_bytes = 0
        self.failure: JobError | None = None
        self._start, self._chunk = 0, b""
        self._guarded_fetch(0)

    def read(self, size: int) -> bytes:
        """At most so many bytes from here; none at the end."""
        if self._position >= self.size_bytes:
            return b""
        if not self._start <= self._position < self._start + len(self._chunk):
            goes_on = self._position == self._start + len(self._chunk)
            self._chunk_bytes = min(MAX_CHUNK_BYTES, self._chunk_bytes * 2) if goes_on else FIRST_CHUNK_BYTES
            self._guarded_fetch(self._position)
        first = self._position - self._start
        part = self._chunk[first : first + size]
        self._position += len(part)
        return part

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place; nothing is fetched yet."""
        self._position = max(0, offset + (0, self._position, self.size_bytes)[whence])
        return self._position

    def detect(self) -> int:
        """Where the next byte comes from."""
        return self._position

    def close(self) -> None:
        """Let the connection go."""
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _guarded_fetch(self, start: int) -> None:
        """Fetch a chunk; a failure is kept, since FFmpeg may take it for the end of the file."""
        pauses = iter(RETRY_PAUSES_S if self.size_bytes else ())
        while True:
            try:
                self._fetch(start)
            except requests.exceptions.SSLError as error:
                self.failure = ServiceUnreachable(
                    SERVICE, self._where, "its certificate is not trusted: set server.ca_file"
                )
                raise self.failure from error
            except requests.exceptions.RequestException as error:
                if (pause := next(pauses, None)) is None:
                    self.failure = ServiceUnreachable(
                        SERVICE, self._where, f"the connection breaks off ({type(error).__name__})"
                    )
                    raise self.failure from error
                time.sleep(pause)
            except JobError as error:
                self.failure = error
                raise
            else:
                return

    def _fetch(self, start: int) -> None:
        headers = {
            **dict(self._location.headers),
            "Range": f"bytes={start}-{start + self._chunk_bytes - 1}",
            "Accept-Encoding": "identity",
        }
        with self._session.get(
            self._location.address,
            headers=headers,
            timeout=TIMEOUT_S,
            allow_redirects=False,
            verify=self._location.verify,
            stream=True,
        ) as answer:
            if (failure := self._refused(answer.status_code)) is not None:
                raise failure
            size = answer.headers.get("Content-Range", "").rsplit("/", 1)[-1]
            if not size.isdecimal() or int(size) == 0:
                raise MediaUnreadable(self._where, "it is empty")
            if self.size_bytes and int(size) != self.size_bytes:
                raise ServiceUnreachable(SERVICE, self._where, "the file changed while it was read")
            content = answer.raw.read(self._chunk_bytes)
        if not content:
            raise requests.exceptions.ConnectionError("an answer without bytes")
        self.size_bytes, self._start, self._chunk = int(size), start, content

    def _refused(self, status: int) -> JobError | None:
        if status == 206:
            return None
        if status in {401, 403}:
            return KeyRejected(SERVICE, self._where)
        if status in {404, 416}:
            return MediaUnreadable(self._where, "the server does not find it, or it is empty")
        if status == 200:
            return ServiceUnreachable(
                SERVICE, self._where, "it does not serve ranges; does a proxy strip the Range header?"
            )
        if 300 <= status < 400:
            return ServiceUnreachable(
                SERVICE, self._where, "it redirects: is the base path in server.url right, and http or https?"
            )
        return ServiceUnreachable(SERVICE, self._where, f"status {status}")
