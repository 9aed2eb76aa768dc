"""Media over HTTP range requests as a file object; the only place where media bytes cross a network.

FFmpeg's own HTTP client is not used: it verifies no certificate and sends the API key to the target of a
redirect. Many short requests are used instead of one long one: servers and proxies cut connections whose
reader is slow.
"""

import time
from types import TracebackType
from typing import Self

import requests
from urllib3.exceptions import HTTPError as TransferError

from fluxcaption.domain.errors import JobError, KeyRejected, MediaUnreadable, ServiceUnreachable
from fluxcaption.ports.media import MediaLocation

SERVICE = "the media stream"
FIRST_CHUNK_BYTES, MAX_CHUNK_BYTES = 256 * 1024, 4 * 2**20
"""Length of a request: the first after a seek, doubled with each sequential one up to the maximum."""

TIMEOUT_S = (10.0, 60.0)
"""To connect, and to wait for the next bytes."""

RETRY_DELAYS_S = (0.2, 2.0, 8.0, 20.0)
"""Waits between the attempts of a read, once the first read has succeeded."""


class RemoteFile:
    """Readable, seekable file object over HTTP ranges; every method blocks. The caller closes it.

    Attributes:
        size_bytes: Length of the file.
        failure: Error of the last read; FFmpeg may take a failed read for the end of the file.

    Raises:
        ServiceUnreachable: No answer, a redirect, an untrusted certificate, or no support for ranges.
        KeyRejected: The server rejects the key.
        MediaUnreadable: The server does not find the file, or the file is empty.
    """

    def __init__(self, location: MediaLocation) -> None:
        self._location = location
        self._url = location.address.split("?", 1)[0]
        self._session = requests.Session()
        self._session.trust_env = False
        self._position = 0
        self._chunk_bytes = FIRST_CHUNK_BYTES
        self._chunk_start, self._chunk = 0, b""
        self.size_bytes = 0
        self.failure: JobError | None = None
        self._fetch(0)

    def read(self, size: int) -> bytes:
        """Return 1 to `size` bytes from the current position; none at the end of the file."""
        if self._position >= self.size_bytes:
            return b""
        chunk_end = self._chunk_start + len(self._chunk)
        if not self._chunk_start <= self._position < chunk_end:
            is_sequential = self._position == chunk_end
            self._chunk_bytes = (
                min(MAX_CHUNK_BYTES, self._chunk_bytes * 2) if is_sequential else FIRST_CHUNK_BYTES
            )
            self._fetch(self._position)
        first = self._position - self._chunk_start
        data = self._chunk[first : first + size]
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        """Set the position as `io.IOBase.seek` does; nothing is requested yet."""
        self._position = max(0, offset + (0, self._position, self.size_bytes)[whence])
        return self._position

    def tell(self) -> int:
        """Return the current position. PyAV seeks only in objects that have this method."""
        return self._position

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _fetch(self, start: int) -> None:
        """Request the chunk at `start`; retry a lost connection and store the error that remains."""
        delays_s = iter(RETRY_DELAYS_S if self.size_bytes else ())
        while True:
            try:
                self._request(start)
            except requests.exceptions.SSLError as error:
                self.failure = ServiceUnreachable(
                    SERVICE, self._url, "its certificate is not trusted: set server.ca_file"
                )
                raise self.failure from error
            except (requests.exceptions.RequestException, TransferError) as error:
                if (delay_s := next(delays_s, None)) is None:
                    self.failure = ServiceUnreachable(
                        SERVICE, self._url, f"the connection failed ({type(error).__name__})"
                    )
                    raise self.failure from error
                time.sleep(delay_s)
            except JobError as error:
                self.failure = error
                raise
            else:
                return

    def _request(self, start: int) -> None:
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
        ) as response:
            if (failure := self._error_for_status(response.status_code)) is not None:
                raise failure
            size = response.headers.get("Content-Range", "").rsplit("/", 1)[-1]
            if not size.isdecimal() or int(size) == 0:
                raise MediaUnreadable(self._url, "it is empty")
            if self.size_bytes and int(size) != self.size_bytes:
                raise ServiceUnreachable(SERVICE, self._url, "the file changed while it was read")
            content = response.raw.read(self._chunk_bytes)
        if not content:
            raise requests.exceptions.ConnectionError("the response has no body")
        self.size_bytes, self._chunk_start, self._chunk = int(size), start, content

    def _error_for_status(self, status: int) -> JobError | None:
        if status == 206:
            return None
        if status in {401, 403}:
            return KeyRejected(SERVICE, self._url)
        if status in {404, 416}:
            return MediaUnreadable(self._url, "the server does not find it, or it is empty")
        if status == 200:
            return ServiceUnreachable(
                SERVICE, self._url, "it does not serve ranges; does a proxy strip the Range header?"
            )
        if 300 <= status < 400:
            return ServiceUnreachable(
                SERVICE, self._url, "it redirects: is the base path in server.url right, and http or https?"
            )
        return ServiceUnreachable(SERVICE, self._url, f"status {status}")
