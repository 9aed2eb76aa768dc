"""The only user of jellyfin-apiclient-python: one HTTP request per call, with explicit errors.

Source: notes/libraries.md L1 to L5. The library's own request methods return None for a 500 as
for a 204, repeat a POST as a GET, drop the token after one 401, do not verify TLS and print the token at
DEBUG. Requests therefore use the library's session and headers directly, and the status is read here.
"""

import asyncio
import json
import logging
import socket
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

import requests
import urllib3.exceptions
from requests.adapters import HTTPAdapter
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from fluxcaption.domain.errors import JobError, KeyRejected, ServiceUnreachable
from fluxcaption.jellyfin.answer import (
    CERTIFICATE_NOT_TRUSTED,
    CONNECTION_CLOSED,
    CONNECTION_REFUSED,
    NEVER_SENT,
    NO_ANSWER_IN_TIME,
    NO_HTTP,
    NO_TLS,
    REDIRECTS,
    SERVICE,
    STARTING,
    UNKNOWN_HOST,
    Answer,
    AnswerTooLarge,
)
from fluxcaption.settings import JellyfinConfig

CALL_CONCURRENCY = 2
"""Parallel requests; the server's database slows down with more (notes/jellyfin-server.md J6)."""

MAX_SHORT_CALL_TIMEOUT_S = 120.0
"""Calls with a longer timeout (extractions of embedded text) run on a separate thread, so that they do not
block short calls."""

CONNECT_TIMEOUT_S = 10.0
MIN_RETRY_AFTER_S = 10.0
"""Shortest pause after an error status, before background work calls the server again."""

MAX_ANSWER_BYTES = 64 * 2**20
CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class _Request:
    """One HTTP request; the fields are those of `JellyfinClient.call`."""

    method: str
    path: str
    params: Mapping[str, str]
    body: object
    headers: Mapping[str, str]
    timeout_s: float
    expected: frozenset[int]
    max_bytes: int


class _OpenSockets:
    """The open sockets of one client, so that running requests can be aborted."""

    def __init__(self) -> None:
        self._sockets: WeakSet[socket.socket] = WeakSet()

    def tracked(self, connection_class: type[Any]) -> type[Any]:
        """Return a subclass of a connection class that registers its socket here."""
        sockets = self._sockets

        class TrackedConnection(connection_class):  # type: ignore[misc]
            def connect(self) -> None:
                super().connect()
                sockets.add(self.sock)

        return TrackedConnection

    def abort_all(self) -> None:
        """Shut all sockets down, so that blocked reads return with an error."""
        for open_socket in list(self._sockets):
            with suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)


class _Adapter(HTTPAdapter):
    """Transport adapter without retries, whose connections can be aborted."""

    def __init__(self, sockets: _OpenSockets) -> None:
        self._sockets = sockets
        super().__init__(max_retries=0)

    def init_poolmanager(self, *options: Any, **keyword_options: Any) -> None:
        """Create connection pools whose sockets are tracked."""
        super().init_poolmanager(*options, **keyword_options)
        pools: dict[str, Any] = {"http": HTTPConnectionPool, "https": HTTPSConnectionPool}
        self.poolmanager.pool_classes_by_scheme = {
            scheme: type(pool.__name__, (pool,), {"ConnectionCls": self._sockets.tracked(pool.ConnectionCls)})
            for scheme, pool in pools.items()
        }


class JellyfinClient:
    """Blocking requests on two threads, and on a third one for long calls; one library client per thread."""

    def __init__(self, settings: JellyfinConfig, version: str) -> None:
        self._settings = settings
        self._version = version
        self.url = settings.url.rstrip("/")
        self.verify: bool | str = str(settings.ca_file) if settings.ca_file else settings.tls_verify
        self._threads = ThreadPoolExecutor(max_workers=CALL_CONCURRENCY, thread_name_prefix="jellyfin")
        self._long_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="jellyfin-long")
        self._local = threading.local()
        self._opened: list[Any] = []
        self._sockets = _OpenSockets()

    async def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 30.0,
        expected: frozenset[int] = frozenset(),
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> Answer:
        """Send one request. It is never repeated automatically.

        Args:
            method: GET, HEAD, POST or DELETE.
            path: Below the base path, with a leading slash.
            params: Query.
            body: Sent as JSON.
            headers: Added to the headers of every request; override them.
            timeout_s: Longest wait for the first byte, and longest time for the whole answer.
            expected: Statuses of 400 and above that are returned instead of raised.
            max_bytes: Size limit of the answer.

        Raises:
            ServiceUnreachable: No answer, an error status, a redirect, or a page instead of data.
            AnswerTooLarge: The answer exceeds `max_bytes`.
            KeyRejected: Status 401 or 403.
        """
        request = _Request(method, path, params or {}, body, headers or {}, timeout_s, expected, max_bytes)
        threads = self._threads if timeout_s <= MAX_SHORT_CALL_TIMEOUT_S else self._long_thread
        return await asyncio.get_running_loop().run_in_executor(threads, self._send, request)

    def authorization(self) -> str:
        """Return the value of the Authorization header, for streams that other code opens; a secret."""
        return str(self._thread_client().http._get_default_headers()["Authorization"])

    async def close(self) -> None:
        """Close connections and threads; abort requests that are still waiting for the server."""
        for threads in (self._threads, self._long_thread):
            threads.shutdown(wait=False, cancel_futures=True)
        self._sockets.abort_all()
        for client in self._opened:
            client.http.session.close()

    def _send(self, request: _Request) -> Answer:
        """Send one request on this thread and translate every failure."""
        try:
            answer = self._exchange(request)
        except requests.exceptions.SSLError as error:
            raise ServiceUnreachable(SERVICE, self.url, _tls_cause(error)) from error
        except requests.exceptions.ConnectTimeout as error:
            raise ServiceUnreachable(SERVICE, self.url, NO_ANSWER_IN_TIME, was_sent=False) from error
        except requests.exceptions.Timeout as error:
            raise ServiceUnreachable(SERVICE, self.url, NO_ANSWER_IN_TIME) from error
        except requests.exceptions.RequestException as error:
            cause = _connection_cause(error, self.url)
            raise ServiceUnreachable(SERVICE, self.url, cause, was_sent=cause not in NEVER_SENT) from error
        except (OSError, ValueError) as error:
            # requests does not wrap a missing certificate file or an invalid host name.
            raise ServiceUnreachable(SERVICE, self.url, str(error), was_sent=False) from error
        if answer.status not in request.expected and (failure := self._failure(answer)) is not None:
            raise failure
        return answer

    def _exchange(self, request: _Request) -> Answer:
        """Send one request and read the answer; errors are those of requests."""
        client = self._thread_client()
        headers = {
            **client.http._get_default_headers(),
            "Accept": "application/json, text/plain, */*",
            **request.headers,
        }
        data = None
        if request.body is not None:
            # The library's own call crashes on a JSON list, so the body is encoded here.
            data, headers["Content-Type"] = json.dumps(request.body), "application/json"
        with client.http.session.request(
            request.method,
            self.url + request.path,
            params=dict(request.params),
            data=data,
            headers=headers,
            timeout=(CONNECT_TIMEOUT_S, request.timeout_s),
            allow_redirects=False,
            verify=self.verify,
            stream=True,
        ) as response:
            content = _read_body(response, request.max_bytes, time.monotonic() + request.timeout_s)
            content_type = response.headers.get("Content-Type", "")
            return Answer(self.url, response.status_code, content_type, content, response.headers)

    def _failure(self, answer: Answer) -> JobError | None:
        """Return the error that a status stands for; None for a success."""
        status = answer.status
        if status < 300:
            return None
        if status in {401, 403}:
            return KeyRejected(SERVICE, self.url)
        if status < 400:
            location = answer.headers.get("Location", "elsewhere").partition("?")[0]
            detail = f"{REDIRECTS} to {location}: are the base path and http or https in server.url right?"
            return ServiceUnreachable(SERVICE, self.url, detail)
        return ServiceUnreachable(
            SERVICE,
            self.url,
            STARTING if status == 503 else f"status {status}",
            was_sent=status not in {429, 503},
            retry_after_s=max(MIN_RETRY_AFTER_S, answer.retry_after_s),
        )

    def _thread_client(self) -> Any:
        """Return this thread's library client; create it at the first call."""
        client = getattr(self._local, "client", None)
        if client is None:
            client = self._local.client = _new_client(self._settings, self._version)
            for scheme in ("http://", "https://"):
                client.http.session.mount(scheme, _Adapter(self._sockets))
            self._opened.append(client)
        return client


def _new_client(settings: JellyfinConfig, version: str) -> Any:
    from jellyfin_apiclient_python import JellyfinClient as LibraryClient

    for name in ("Jellyfin", "JELLYFIN"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        # At DEBUG the library prints the token.
        logger.setLevel(logging.WARNING)
    client = LibraryClient()
    device = _device_name()
    client.config.app("FluxCaption", version, device, f"fluxcaption-{device}")
    key = settings.api_key.get_secret_value() if settings.api_key else ""
    client.config.auth(settings.url.rstrip("/"), None, token=key, ssl=True)
    client.config.http(max_retries=0)
    client.logged_in = True
    client.start(keep_alive=True)
    client.http.session.trust_env = False
    return client


def _device_name() -> str:
    """Return this machine's name in characters that a header may carry."""
    return (
        "".join(
            character if (character.isascii() and character.isalnum()) or character in "-." else "-"
            for character in socket.gethostname()
        )
        or "host"
    )


def _read_body(response: requests.Response, max_bytes: int, deadline: float) -> bytes:
    """Return the body within the limits; errors of urllib3 become those of requests."""
    try:
        return _read_chunks(response, max_bytes, deadline)
    except urllib3.exceptions.TimeoutError as error:
        raise requests.exceptions.ReadTimeout(str(error)) from error
    except urllib3.exceptions.HTTPError as error:
        raise requests.exceptions.ConnectionError(str(error)) from error


def _read_chunks(response: requests.Response, max_bytes: int, deadline: float) -> bytes:
    """Return the body, chunk by chunk, so that a slow answer cannot occupy the thread beyond the deadline."""
    chunks: list[bytes] = []
    size = 0
    while chunk := response.raw.read1(CHUNK_BYTES, decode_content=True):
        size += len(chunk)
        if time.monotonic() > deadline:
            raise urllib3.exceptions.TimeoutError(f"the answer was not complete after {size} bytes")
        if size > max_bytes:
            url = response.url.split("?", 1)[0]
            raise AnswerTooLarge(SERVICE, url, f"the answer is larger than {max_bytes} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def _connection_cause(error: requests.exceptions.RequestException, url: str) -> str:
    text = str(error)
    if "Name or service not known" in text or "NameResolution" in text or "getaddrinfo" in text:
        return UNKNOWN_HOST
    if "refused" in text:
        return CONNECTION_REFUSED
    if "BadStatusLine" in text:
        return NO_HTTP
    if "RemoteDisconnected" in text or "reset by peer" in text:
        if url.startswith("http://"):
            return f"{CONNECTION_CLOSED}: does server.url have to begin with https://?"
        return CONNECTION_CLOSED
    return type(error).__name__


def _tls_cause(error: requests.exceptions.SSLError) -> str:
    text = str(error)
    if "certificate verify failed" in text:
        reason = text.partition("certificate verify failed: ")[2].partition(" (_ssl")[0]
        return f"{CERTIFICATE_NOT_TRUSTED} ({reason}): set server.ca_file (link: --ca-file)"
    if "WRONG_VERSION_NUMBER" in text or "UNEXPECTED_EOF" in text or "RECORD_LAYER_FAILURE" in text:
        return NO_TLS
    return f"TLS handshake failed ({text.partition('SSLError(')[2] or text})"
