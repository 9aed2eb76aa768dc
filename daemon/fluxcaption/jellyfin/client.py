"""The one door of jellyfin-apiclient-python, with the cures its behaviour needs.

Source: server contract 13 and libraries sheet 6. Left alone it returns None for a 500 as for a 204, repeats a POST as a GET, forgets its token after
one 401, leaves TLS unchecked and prints the token at DEBUG. So requests go through its session with its headers and our own reading of the status.
"""

import asyncio
import json
import logging
import socket
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import requests

from fluxcaption.domain.errors import JobError, KeyRejected, ServerRefusesUploads, ServiceUnreachable
from fluxcaption.settings import JellyfinServer

SERVICE = "Jellyfin"
CALLS_AT_ONCE = 2
"""The server's database does not like more (contract 12)."""

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


class JellyfinClient:
    """Blocking requests on two threads of its own; one library client for each thread."""

    def __init__(self, settings: JellyfinServer, version: str) -> None:
        self._settings = settings
        self._version = version
        self.url = settings.url.rstrip("/")
        self._verify: bool | str = str(settings.ca_file) if settings.ca_file else settings.tls_verify
        self._threads = ThreadPoolExecutor(max_workers=CALLS_AT_ONCE, thread_name_prefix="jellyfin")
        self._local = threading.local()
        self._opened: list[Any] = []

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
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: self._call(method, path, params, body, headers or {}, timeout_s, expected, most_bytes))

    def authorization(self) -> str:
        """The header value for those who fetch media themselves; a secret."""
        return str(self._client().http._get_default_headers()["Authorization"])

    async def close(self) -> None:
        """Let connections and threads go."""
        self._threads.shutdown(wait=False, cancel_futures=True)
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
                answer = Answer(response.status_code, response.headers.get("Content-Type", ""), content, dict(response.headers))
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
            return ServiceUnreachable(SERVICE, self.url, f"{REDIRECTS} to {place}: is the base path in server.url right, and http or https?")
        if status == 503:
            return ServiceUnreachable(SERVICE, self.url, STARTING, was_sent=False)
        if status == 413:
            return ServerRefusesUploads("a proxy before it limits the size of a request (status 413)")
        if status >= 400:
            return ServiceUnreachable(SERVICE, self.url, f"status {status}")
        return None

    def _client(self) -> Any:
        client = getattr(self._local, "client", None)
        if client is None:
            client = self._local.client = _new_client(self._settings, self._version)
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


def _cause(error: requests.exceptions.RequestException, url: str) -> str:
    text = str(error)
    if "Name or service not known" in text or "NameResolution" in text or "getaddrinfo" in text:
        return UNKNOWN_NAME
    if "refused" in text:
        return REFUSED
    if "BadStatusLine" in text:
        return NO_HTTP
    if "RemoteDisconnected" in text or "reset by peer" in text:
        return HUNG_UP + (": does server.url begin with https:// instead?" if url.startswith("http://") else "")
    return type(error).__name__


def _tls_cause(error: requests.exceptions.SSLError) -> str:
    text = str(error)
    if "certificate verify failed" in text:
        reason = text.partition("certificate verify failed: ")[2].partition(" (_ssl")[0]
        return f"{NOT_TRUSTED} ({reason}): set server.ca_file (link: --ca-file)"
    if "WRONG_VERSION_NUMBER" in text or "UNEXPECTED_EOF" in text or "RECORD_LAYER_FAILURE" in text:
        return NO_TLS
    return f"TLS with it failed ({text.partition('SSLError(')[2] or text})"
