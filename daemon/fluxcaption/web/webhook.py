"""Jellyfin's webhook: a hint that something came or went; only its ids are believed.

Source: server contract 9.2 to 9.4: at most once, any content type, dashed or undashed ids, templates or all properties.
"""

import hmac
import json
import re
from collections import OrderedDict
from collections.abc import Callable
from urllib.parse import parse_qsl

from aiohttp import web

from fluxcaption.domain.events import EventKind
from fluxcaption.domain.units import ItemId, ServerId
from fluxcaption.ports.clock import Clock
from fluxcaption.ports.storage import Storage
from fluxcaption.web.problems import problem

MAX_DEPTH = 20
EVENT_KINDS = {
    "ItemAdded": EventKind.ITEM_ADDED,
    "ItemDeleted": EventKind.ITEM_DELETED,
    "PlaybackStart": EventKind.PLAYBACK_STARTED,
    "PlaybackStop": EventKind.PLAYBACK_STOPPED,
}
"""Jellyfin's notification types that are stored as events."""

_ID = re.compile(r"[0-9a-f]{32}")
_BRACKETS = re.compile(r"[\[\]{}]")
_STRINGS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
"""An end that is missing is the text's end, so that no place is looked at twice."""

MAX_PROOFS = 64


class Proofs:
    """Device ids that came back, the latest few."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, None] = OrderedDict()

    def add(self, device: str) -> None:
        """One came back."""
        self._seen[device[:200]] = None
        while len(self._seen) > MAX_PROOFS:
            self._seen.popitem(last=False)

    def __contains__(self, device: str) -> bool:
        return device in self._seen


class Webhook:
    """Stores events durably and answers at once; the work is done elsewhere."""

    def __init__(
        self,
        storage: Storage,
        clock: Clock,
        secret: str,
        server_id: Callable[[], ServerId],
        on_event: Callable[[], None],
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._secret = secret
        self._server_id = server_id
        self._on_event = on_event
        self.proofs = Proofs()

    async def receive(self, request: web.Request) -> web.Response:
        """Take one event: 202 with its id once it is on disk."""
        if not self._secret:
            return problem(
                503,
                "webhook-not-configured",
                "set web.webhook_secret in the config and send it as Authorization: Bearer",
            )
        if not has_bearer_token(request, self._secret):
            return problem(
                401, "webhook-secret-wrong", "the Authorization header must be Bearer and web.webhook_secret"
            )
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            return problem(415, "encoding-not-supported", "send the body without Content-Encoding")
        try:
            values = read_payload(await request.read(), request.content_type)
        except web.HTTPRequestEntityTooLarge:
            return problem(413, "body-too-large", "a webhook body is at most 64 KiB")
        except ValueError as error:
            return problem(400, "payload-unreadable", str(error))
        kind = values.get("NotificationType")
        if not kind or not isinstance(kind, str):
            return problem(400, "notification-unknown", "the payload needs NotificationType")
        if kind == "SessionStart":
            # Only `link` and `doctor` have these sent, for a moment, to prove the round trip.
            self.proofs.add(str(values.get("DeviceId", "")))
        if (event_kind := EVENT_KINDS.get(kind)) is None:
            # Nothing is wrong with a destination that sends more than we use: a refusal would only fill the server's log.
            return web.json_response({"id": 0}, status=202)
        item_id = _id(values.get("ItemId"))
        if not _ID.fullmatch(item_id):
            return problem(
                400, "item-id-missing", "the payload needs ItemId, 32 hex digits with or without dashes"
            )
        given, known = _id(values.get("ServerId")), self._server_id()
        if known and given and given != known:
            return problem(403, "wrong-server", "this event is from another server")
        # Stored as it came: before the server has answered for the first time nothing is known, and it is compared when it is looked at.
        event_id = await self._storage.events.add(
            ServerId(given), event_kind, ItemId(item_id), self._clock.now()
        )
        self._on_event()
        return web.json_response({"id": event_id}, status=202)


def has_bearer_token(request: web.Request, secret: str) -> bool:
    """Whether a request carries the secret as a bearer token; compared in constant time."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    # A header may hold any bytes; aiohttp keeps those that are no UTF-8 as surrogates.
    return (
        hmac.compare_digest(given.strip().encode(errors="surrogateescape"), secret.encode())
        and scheme.lower() == "bearer"
    )


def read_payload(body: bytes, content_type: str) -> dict[str, object]:
    """Read a flat object from JSON or a form, whatever the content type says of JSON.

    Raises:
        ValueError: It is neither, with a sentence for the sender.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError("the body is not UTF-8") from error
    if content_type == "application/x-www-form-urlencoded":
        return dict(parse_qsl(text))
    if _depth(text) > MAX_DEPTH:
        raise ValueError("the body is nested too deeply")
    try:
        # A template puts names and overviews in as they are, line breaks included (9.4).
        values = json.loads(text, strict=False)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError("the body is not JSON: check the destination's template") from error
    if not isinstance(values, dict):
        raise ValueError("the body is not a JSON object")
    return values


def _id(value: object) -> str:
    return str(value or "").replace("-", "").lower()


def _depth(text: str) -> int:
    """Most brackets open at once, counted without parsing."""
    depth = most = 0
    for sign in _BRACKETS.findall(_STRINGS.sub("", text)):
        depth += 1 if sign in "[{" else -1
        most = max(most, depth)
    return most
