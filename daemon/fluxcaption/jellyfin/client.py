"""The one door of jellyfin-apiclient-python, with the cures its behaviour needs.

Source: server contract 13 and libraries sheet 6. Left alone it returns None for a 500 as for a 204, repeats a POST as a GET, forgets its token after
one 401, leaves TLS unchecked and prints the token at DEBUG. So requests go through its session with its headers and our own reading of the status.
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
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from weakref import WeakSet

import requests
from requests.adapters import HTTPAdapter
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from fluxcaption.domain.errors import JobError, KeyRejected, ServerRefusesUploads, ServiceUnreachable
from fluxcaption.settings import JellyfinServer

SERVICE = "Jellyfin"
CALLS_AT_ONCE = 2
"""The server's database does not like more (contract 12)."""

LONG_S = 120.0
"""Calls that may be silent longer (extractions of embedded text) have a thread of their own, so that they hold up no others."""

UNKNOWN_NAME, REFUSED = "its name is not known here", "the connection is refused"
NEVER_SENT = frozenset({UNKNOWN_NAME, REFUSED})
CONNECT_S = 10.0
LEFT_ALONE_S, MOST_LEFT_ALONE_S = 10.0, 3600.0
"""How long a server that answers with an error is left alone by those who can wait, and the most it may wish for."""
MOST_BYTES = 64 * 2**20
CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said.

    Attributes:
        status: Below 400, or one of those the caller asked to see.
    """

    status: int
    content_type: str
    body: bytes
    headers: Mapping[str, str]

    @property
    def retry_after_s(self) -> float:
        """How long the server wishes to be left alone; 0 where it does not say."""
        wish = self.headers.get("Retry-After", "")
        if wish.isdecimal():
            return float(wish)
        try:
            return max(0.0, (parsedate_to_datetime(wish) - datetime.now(UTC)).total_seconds()) if wish else 0.0
        except (ValueError, TypeError):
            return 0.0

    def json(self, url: str) -> Any:
        """The body as JSON.

        Raises:
            ServiceUnreachable: It is something else, as from a wrong base path or a page of a proxy.
        """
        if "json" in self.content_type:
            try:
                return json.loads(self.body)
            except (ValueError, RecursionError) as error:
                raise ServiceUnreachable(SERVICE, url, "its answer is damaged") from error
        raise ServiceUnreachable(SERVICE, url, "it answered with a page instead of data: is the base path in server.url right?")


class _Sockets:
    """The sockets of one client, so that calls under way can be broken off."""

    def __init__(self) -> None:
        self._open: WeakSet[socket.socket] = WeakSet()

    def connection(self, kind: type[Any]) -> type[Any]:
        """That class of connection, with its sockets noted here."""
        sockets = self._open

        class Noted(kind):  # type: ignore[misc]
            def connect(self) -> None:
                super().connect()
                sockets.add(self.sock)

        return Noted

    def break_off(self) -> None:
        """Whoever waits for one of them waits no longer."""
        for waiting in list(self._open):
            with suppress(OSError):
                waiting.shutdown(socket.SHUT_RDWR)


class _Adapter(HTTPAdapter):
    """Opens connections whose sockets can be broken off, and repeats nothing."""

    def __init__(self, sockets: _Sockets) -> None:
        self._sockets = sockets
        super().__init__(max_retries=0)

    def init_poolmanager(self, *options: Any, **more: Any) -> None:
        """Make the pools."""
        super().init_poolmanager(*options, **more)
        pools: dict[str, Any] = {"http": HTTPConnectionPool, "https": HTTPSConnectionPool}
        self.poolmanager.pool_classes_by_scheme = {
            scheme: type(pool.__name__, (pool,), {"ConnectionCls": self._sockets.connection(pool.ConnectionCls)}) for scheme, pool in pools.items()
        }


class JellyfinClient:
    """Blocking requests on two threads of its own, and one for long calls; one library client for each thread."""

    def __init__(self, settings: JellyfinServer, version: str) -> None:
        self._settings = settings
        self._version = version
        self.url = settings.url.rstrip("/")
        self._verify: bool | str = str(settings.ca_file) if settings.ca_file else settings.tls_verify
        self._threads = ThreadPoolExecutor(max_workers=CALLS_AT_ONCE, thread_name_prefix="jellyfin")
        self._long_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="jellyfin-long")
        self._local = threading.local()
        self._opened: list[Any] = []
        self._sockets = _Sockets()
        self._left_alone: tuple[float, ServiceUnreachable] | None = None
        """Until when (monotonic) the server wishes to hear nothing, and how it said so."""

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
        most_bytes: int = MOST_BYTES,
    ) -> Answer:
        """Make one request, never repeated by itself.

        Args:
            method: GET, HEAD, POST or DELETE.
            path: Below the base path, with a leading slash.
            params: Query.
            body: Sent as JSON.
            headers: Beside those of every request.
            timeout_s: Longest silence while reading.
            expected: Statuses of 400 and above that the caller reads itself.
            most_bytes: A longer answer is refused.

        Raises:
            ServiceUnreachable: No answer, an error of the server, a redirect, or a page instead of data.
            KeyRejected: The key is not accepted, or may not do this.
        """
        threads = self._threads if timeout_s <= LONG_S else self._long_thread
        return await asyncio.get_running_loop().run_in_executor(
            threads, lambda: self._call(method, path, params, body, headers or {}, timeout_s, expected, most_bytes)
        )

    def authorization(self) -> str:
        """The header value for those who fetch media themselves; a secret."""
        return str(self._client().http._get_default_headers()["Authorization"])

    async def close(self) -> None:
        """Let connections and threads go; a call that still waits for the server is broken off."""
        for threads in (self._threads, self._long_thread):
            threads.shutdown(wait=False, cancel_futures=True)
        self._sockets.break_off()
        for client in self._opened:
            client.http.session.close()

    def _call(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        body: object,
        more_headers: Mapping[str, str],
        timeout_s: float,
        expected: frozenset[int],
        most_bytes: int,
    ) -> Answer:
        if self._left_alone is not None and time.monotonic() < self._left_alone[0]:
            raise self._left_alone[1]
        client = self._client()
        headers = {**client.http._get_default_headers(), "Accept": "application/json, text/plain, */*", **more_headers}
        data = None
        if body is not None:
            # A list as JSON makes the library's own call crash.
            data, headers["Content-Type"] = json.dumps(body), "application/json"
        try:
            with client.http.session.request(
                method,
                self.url + path,
                params=dict(params or {}),
                data=data,
                headers=headers,
                timeout=(CONNECT_S, timeout_s),
                allow_redirects=False,
                verify=self._verify,
                stream=True,
            ) as response:
                content = _bounded(response, most_bytes)
                answer = Answer(response.status_code, response.headers.get("Content-Type", ""), content, response.headers)
        except requests.exceptions.SSLError as error:
            raise ServiceUnreachable(SERVICE, self.url, "its certificate is not trusted: set server.ca_file") from error
        except requests.exceptions.ConnectTimeout as error:
            raise ServiceUnreachable(SERVICE, self.url, "it did not answer in time", was_sent=False) from error
        except requests.exceptions.Timeout as error:
            raise ServiceUnreachable(SERVICE, self.url, "it did not answer in time") from error
        except requests.exceptions.RequestException as error:
            cause = _cause(error)
            raise ServiceUnreachable(SERVICE, self.url, cause, was_sent=cause not in NEVER_SENT) from error
        if (failure := self._failure(answer)) is not None and answer.status not in expected:
            if isinstance(failure, ServiceUnreachable) and answer.retry_after_s:
                self._left_alone = (time.monotonic() + min(answer.retry_after_s, MOST_LEFT_ALONE_S), failure)
            raise failure
        return answer

    def _failure(self, answer: Answer) -> JobError | None:
        status = answer.status
        if status in {401, 403}:
            return KeyRejected(SERVICE, self.url)
        if 300 <= status < 400:
            return ServiceUnreachable(SERVICE, self.url, "it redirects: is the base path in server.url right, and http or https?")
        if status == 503:
            cause = "it is starting, or does not let this address in"
            return ServiceUnreachable(SERVICE, self.url, cause, was_sent=False, retry_after_s=max(LEFT_ALONE_S, answer.retry_after_s))
        if status == 413:
            return ServerRefusesUploads("a proxy before it limits the size of a request (status 413)")
        if status >= 400:
            return ServiceUnreachable(SERVICE, self.url, f"status {status}", was_sent=status != 429, retry_after_s=max(LEFT_ALONE_S, answer.retry_after_s))
        return None

    def _client(self) -> Any:
        client = getattr(self._local, "client", None)
        if client is None:
            client = self._local.client = _new_client(self._settings, self._version)
            for scheme in ("http://", "https://"):
                client.http.session.mount(scheme, _Adapter(self._sockets))
            self._opened.append(client)
        return client


def _new_client(settings: JellyfinServer, version: str) -> Any:
    from jellyfin_apiclient_python import JellyfinClient as LibraryClient

    for name in ("Jellyfin", "JELLYFIN"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.setLevel(logging.WARNING)
    client = LibraryClient()
    device = "".join(sign if (sign.isascii() and sign.isalnum()) or sign in "-." else "-" for sign in socket.gethostname()) or "host"
    client.config.app("FluxCaption", version, device, f"fluxcaption-{device}")
    key = settings.api_key.get_secret_value() if settings.api_key else ""
    client.config.auth(settings.url.rstrip("/"), None, token=key, ssl=True)
    client.config.http(max_retries=0)
    client.logged_in = True
    client.start(keep_alive=True)
    client.http.session.trust_env = False
    return client


def _bounded(response: requests.Response, most_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    for chunk in response.iter_content(CHUNK):
        size += len(chunk)
        if size > most_bytes:
            raise requests.exceptions.ContentDecodingError(f"more than {most_bytes} bytes")
        parts.append(chunk)
    return b"".join(parts)


def _cause(error: requests.exceptions.RequestException) -> str:
    text = str(error)
    if "Name or service not known" in text or "NameResolution" in text or "getaddrinfo" in text:
        return UNKNOWN_NAME
    if "refused" in text:
        return REFUSED
    return type(error).__name__
