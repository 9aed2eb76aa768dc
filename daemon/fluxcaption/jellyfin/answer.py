"""HTTP answers of the server, and the causes of failed requests as shown to the user."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from fluxcaption.domain.errors import ServiceUnreachable
from fluxcaption.jellyfin.json_fields import Json

SERVICE = "Jellyfin"

UNKNOWN_HOST = "host name not found"
CONNECTION_REFUSED = "connection refused"
NEVER_SENT = frozenset({UNKNOWN_HOST, CONNECTION_REFUSED})
"""Causes that prove that the request did not reach the server."""

NO_ANSWER_IN_TIME = "no answer in time"
CERTIFICATE_NOT_TRUSTED = "certificate not trusted"
NO_TLS = "the port does not speak TLS: does server.url have to begin with http://?"
NO_HTTP = "the port does not speak HTTP: are the port and http:// or https:// in server.url right?"
CONNECTION_CLOSED = "connection closed without an answer"
REDIRECTS = "the server redirects"
WEB_PAGE = "the answer is a web page instead of data: is the base path in server.url right?"
DAMAGED_JSON = "the answer is damaged JSON"
UNEXPECTED_JSON = "the answer does not have the form of a Jellyfin answer"
STARTING = "the server is starting, or blocks this address (status 503)"


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer of the server.

    Attributes:
        url: Address of the server, for error messages.
        status: Below 400, or one of the statuses that the caller expects.
    """

    url: str
    status: int
    content_type: str
    body: bytes
    headers: Mapping[str, str]

    @property
    def retry_after_s(self) -> float:
        """Return the pause that the server requests, in seconds; 0 if the header is missing or unreadable."""
        value = self.headers.get("Retry-After", "")
        if value.isdecimal():
            return float(value)
        try:
            return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
        except (ValueError, TypeError):
            return 0.0

    def json(self) -> Any:
        """Return the body as JSON.

        Raises:
            ServiceUnreachable: The body is not JSON, for example because of a wrong base path.
        """
        if "json" not in self.content_type:
            raise ServiceUnreachable(SERVICE, self.url, WEB_PAGE)
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise ServiceUnreachable(SERVICE, self.url, DAMAGED_JSON) from error

    def mapping(self) -> Json:
        """Return the body as a JSON object.

        Raises:
            ServiceUnreachable: The body is not a JSON object.
        """
        value = self.json()
        if not isinstance(value, Mapping):
            raise ServiceUnreachable(SERVICE, self.url, UNEXPECTED_JSON)
        return value

    def rows(self) -> Sequence[Json]:
        """Return the body as a JSON list of objects.

        Raises:
            ServiceUnreachable: The body is not a list, or one element is not an object.
        """
        value = self.json()
        if not isinstance(value, list) or not all(isinstance(row, Mapping) for row in value):
            raise ServiceUnreachable(SERVICE, self.url, UNEXPECTED_JSON)
        return value


class AnswerTooLarge(ServiceUnreachable):
    """The answer exceeds the size limit of the call."""
