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
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from weakref import WeakSet

import requests
import urllib3.exceptions
from requests.adapters import HTTPAdapter
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from fluxcaption.domain.errors import JobError, KeyRejected, ServiceUnreachable
from fluxcaption.settings import JellyfinConfig

SERVICE = "Jellyfin"
CALL_CONCURRENCY = 2
"""The server's database does not like more (contract 12)."""

LONG_S = 120.0
"""Calls that may be silent longer (extractions of embedded text) have a thread of their own, so that they hold up no others."""

UNKNOWN_NAME, REFUSED = "its name is not known here", "the connection is refused"
NEVER_SENT = frozenset({UNKNOWN_NAME, REFUSED})
NOT_IN_TIME = "it did not answer in time"
NOT_TRUSTED = "its certificate is not trusted"
NO_TLS = "it does not speak TLS there: does server.url begin with http:// instead?"
HUNG_UP = "it hung up without an answer"
NO_HTTP = "what answers there does not speak HTTP: is the port in server.url right, and https:// or http://?"
REDIRECTS = "it redirects"
PAGE = "it answered with a page instead of data: is the base path in server.url right?"
STARTING = "it is starting, or does not let this address in"
CONNECT_S = 10.0
LEFT_ALONE_S = 10.0
"""How long a server that answers with an error is left alone by those who can wait."""
MAX_BYTES = 64 * 2**20
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
            return (
                max(0.0, (parsedate_to_datetime(wish) - datetime.now(UTC)).total_seconds()) if wish else 0.0
            )
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
        raise ServiceUnreachable(SERVICE, url, PAGE)

    def mapping(self, url: str) -> Mapping[str, Any]:
        """The body as a JSON object.

        Raises:
            ServiceUnreachable: It is something else.
        """
        value = self.json(url)
        if not isinstance(value, Mapping):
            raise ServiceUnreachable(SERVICE, url, "its answer is not what Jellyfin answers")
        return value

    def rows(self, url: str) -> Sequence[Mapping[str, Any]]:
        """The body as a JSON list of objects.

        Raises:
            ServiceUnreachable: It is something else.
        """
        value = self.json(url)
        if not isinstance(value, list) or not all(isinstance(row, Mapping) for row in value):
            raise ServiceUnreachable(SERVICE, url, "its answer is not what Jellyfin answers")
        return value


class AnswerTooLarge(ServiceUnreachable):
    """The answer is larger than what was asked for can be."""


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
            scheme: type(
                pool.__name__, (pool,), {"ConnectionCls": self._sockets.connection(pool.ConnectionCls)}
            )
            for scheme, pool in pools.items()
        }


class JellyfinClient:
    """Blocking requests on two threads of its own, and one for long calls; one library client for each thread."""

    def __init__(self, settings: JellyfinConfig, version: str) -> None:
        self._settings = settings
        self._version = version
        self.url = settings.url.rstrip("/")
        self.verify: bool | str = str(settings.ca_file) if settings.ca_file else settings.tls_verify
        self._threads = ThreadPoolExecutor(max_workers=CALL_CONCURRENCY, thread_name_prefix="jellyfin")
        self._long_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="jellyfin-long")
        self._local = threading.local()
        self._opened: list[Any] = []
        self._sockets = _Sockets()

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
        max_bytes: int = MAX_BYTES,
    ) -> Answer:
        """Make one request, never repeated by itself.

        Args:
            method: GET, HEAD, POST or DELETE.
            path: Below the base path, with a leading slash.
            params: Query.
            body: Sent as JSON.
            headers: Beside those of every request.
            timeout_s: Longest silence before the answer, and longest time for all of it.
            expected: Statuses of 400 and above that the caller reads itself.
            max_bytes: A longer answer is refused.

        Raises:
            ServiceUnreachable: No answer, an error of the server, a redirect, or a page instead of data.
            KeyRejected: The key is not accepted, or may not do this.
        """
        threads = self._threads if timeout_s <= LONG_S else self._long_thread
        return await asyncio.get_running_loop().run_in_executor(
            threads,
            lambda: self._call(method, path, params, body, headers or {}, timeout_s, expected, max_bytes),
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
        max_bytes: int,
    ) -> Answer:
        client = self._client()
        headers = {
            **client.http._get_default_headers(),
            "Accept": "application/json, text/plain, */*",
            **more_headers,
        }
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
                verify=self.verify,
                stream=True,
            ) as response:
                content = _read(response, max_bytes, time.monotonic() + timeout_s)
                answer = Answer(
                    response.status_code, response.headers.get("Content-Type", ""), content, response.headers
                )
        except requests.exceptions.SSLError as error:
            raise ServiceUnreachable(SERVICE, self.url, _tls_cause(error)) from error
        except requests.exceptions.ConnectTimeout as error:
            raise ServiceUnreachable(SERVICE, self.url, NOT_IN_TIME, was_sent=False) from error
        except requests.exceptions.Timeout as error:
            raise ServiceUnreachable(SERVICE, self.url, NOT_IN_TIME) from error
        except requests.exceptions.RequestException as error:
            cause = _cause(error, self.url)
            raise ServiceUnreachable(SERVICE, self.url, cause, was_sent=cause not in NEVER_SENT) from error
        except (OSError, ValueError) as error:
            # A certificate file that is gone, a name no address can have: the library lets these through.
            raise ServiceUnreachable(SERVICE, self.url, str(error), was_sent=False) from error
        if (failure := self._failure(answer)) is not None and answer.status not in expected:
            raise failure
        return answer

    def _failure(self, answer: Answer) -> JobError | None:
        status = answer.status
        if status in {401, 403}:
            return KeyRejected(SERVICE, self.url)
        if 300 <= status < 400:
            place = answer.headers.get("Location", "elsewhere").partition("?")[0]
            return ServiceUnreachable(
                SERVICE,
                self.url,
                f"{REDIRECTS} to {place}: is the base path in server.url right, and http or https?",
            )
        if status == 503:
            return ServiceUnreachable(
                SERVICE,
                self.url,
                STARTING,
                was_sent=False,
                retry_after_s=max(LEFT_ALONE_S, answer.retry_after_s),
            )
        if status >= 400:
            return ServiceUnreachable(
                SERVICE,
                self.url,
                f"status {status}",
                was_sent=status != 429,
                retry_after_s=max(LEFT_ALONE_S, answer.retry_after_s),
            )
        return None

    def _client(self) -> Any:
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
        logger.setLevel(logging.WARNING)
    client = LibraryClient()
    device = (
        "".join(
            sign if (sign.isascii() and sign.isalnum()) or sign in "-." else "-"
            for sign in socket.gethostname()
        )
        or "host"
    )
    client.config.app("FluxCaption", version, device, f"fluxcaption-{device}")
    key = settings.api_key.get_secret_value() if settings.api_key else ""
    client.config.auth(settings.url.rstrip("/"), None, token=key, ssl=True)
    client.config.http(max_retries=0)
    client.logged_in = True
    client.start(keep_alive=True)
    client.http.session.trust_env = False
    return client


def _read(response: requests.Response, max_bytes: int, deadline: float) -> bytes:
    try:
        return _bounded(response, max_bytes, deadline)
    except urllib3.exceptions.TimeoutError as error:
        raise requests.exceptions.ReadTimeout(str(error)) from error
    except urllib3.exceptions.HTTPError as error:
        raise requests.exceptions.ConnectionError(str(error)) from error


def _bounded(response: requests.Response, max_bytes: int, deadline: float) -> bytes:
    """The body, read as it comes: one that drips holds its thread no longer than one that stays away."""
    parts: list[bytes] = []
    size = 0
    while chunk := response.raw.read1(CHUNK, decode_content=True):
        size += len(chunk)
        if time.monotonic() > deadline:
            raise urllib3.exceptions.TimeoutError(f"the answer was not complete after {size} bytes")
        if size > max_bytes:
            raise AnswerTooLarge(
                SERVICE, response.url.split("?", 1)[0], f"its answer has more than {max_bytes} bytes"
            )
        parts.append(chunk)
    return b"".join(parts)


def _cause(error: requests.exceptions.RequestException, url: str) -> str:
    text = str(error)
    if "Name or service not known" in text or "NameResolution" in text or "getaddrinfo" in text:
        return UNKNOWN_NAME
    if "refused" in text:
        return REFUSED
    if "BadStatusLine" in text:
        return NO_HTTP
    if "RemoteDisconnected" in text or "reset by peer" in text:
        return HUNG_UP + (
            ": does server.url begin with https:// instead?" if url.startswith("http://") else ""
        )
    return type(error).__name__


def _tls_cause(error: requests.exceptions.SSLError) -> str:
    text = str(error)
    if "certificate verify failed" in text:
        reason = text.partition("certificate verify failed: ")[2].partition(" (_ssl")[0]
        return f"{NOT_TRUSTED} ({reason}): set server.ca_file (link: --ca-file)"
    if "WRONG_VERSION_NUMBER" in text or "UNEXPECTED_EOF" in text or "RECORD_LAYER_FAILURE" in text:
        return NO_TLS
    return f"TLS with it failed ({text.partition('SSLError(')[2] or text})"
