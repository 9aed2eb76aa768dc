"""The route of Jellyfin's webhook: stores each event; only the ids in a payload are used.

Source: notes/jellyfin-server.md J41 to J43: at most once, any content type, dashed or undashed ids, templates
or all properties.
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

MAX_PROBES = 64
MAX_DEVICE_ID_LENGTH = 200

_ID = re.compile(r"[0-9a-f]{32}")
_BRACKETS = re.compile(r"[\[\]{}]")
_STRINGS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
"""JSON strings; an unterminated string ends with the text, which keeps the search linear."""


class SeenProbes:
    """Device ids of the latest probe sessions whose webhook arrived."""

    def __init__(self) -> None:
        self._devices: OrderedDict[str, None] = OrderedDict()

    def add(self, device: str) -> None:
        """Record the device id of an arrived webhook."""
        self._devices[device[:MAX_DEVICE_ID_LENGTH]] = None
        while len(self._devices) > MAX_PROBES:
            self._devices.popitem(last=False)

    def __contains__(self, device: str) -> bool:
        return device in self._devices


class Webhook:
    """Handler that stores events durably and answers at once; they are processed later."""

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
        self.probes = SeenProbes()

    async def receive(self, request: web.Request) -> web.Response:
        """Answer 202 with the event id after the event is on disk."""
        if (refusal := self._check_headers(request)) is not None:
            return refusal
        try:
            payload = read_payload(await request.read(), request.content_type)
        except web.HTTPRequestEntityTooLarge:
            return problem(413, "body-too-large", "the body is larger than 64 KiB: shorten the template")
        except ValueError as error:
            return problem(400, "payload-unreadable", str(error))
        kind = payload.get("NotificationType")
        if not kind or not isinstance(kind, str):
            return problem(
                400, "notification-unknown", "the payload has no NotificationType: add it to the template"
            )
        if kind == "SessionStart":
            # Sent only while `link` or `doctor` tests the round trip.
            self.probes.add(str(payload.get("DeviceId", "")))
        if (event_kind := EVENT_KINDS.get(kind)) is None:
            # Accepted: destinations may send unused kinds, and a refusal would only fill the server's log.
            return web.json_response({"id": 0}, status=202)
        return await self._store(event_kind, payload)

    def _check_headers(self, request: web.Request) -> web.Response | None:
        if not self._secret:
            return problem(
                503,
                "webhook-not-configured",
                "web.webhook_secret is not set: set it in the config and send it as Authorization: Bearer",
            )
        if not has_bearer_token(request, self._secret):
            return problem(
                401,
                "webhook-secret-wrong",
                "the Authorization header is wrong: it must be Bearer and web.webhook_secret",
            )
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            return problem(
                415, "encoding-not-supported", "the body is compressed: send it without Content-Encoding"
            )
        return None

    async def _store(self, kind: EventKind, payload: dict[str, object]) -> web.Response:
        item_id = _normalize_id(payload.get("ItemId"))
        if not _ID.fullmatch(item_id):
            return problem(
                400,
                "item-id-missing",
                "the payload has no valid ItemId: send 32 hex digits with or without dashes",
            )
        event_server, connected_server = _normalize_id(payload.get("ServerId")), self._server_id()
        if connected_server and event_server and event_server != connected_server:
            return problem(
                403, "wrong-server", "the event is from another server: check where its webhook points"
            )
        # Before the first connection the server is unknown: the event is stored and compared when processed.
        event_id = await self._storage.events.add(
            ServerId(event_server), kind, ItemId(item_id), self._clock.now()
        )
        self._on_event()
        return web.json_response({"id": event_id}, status=202)


def has_bearer_token(request: web.Request, secret: str) -> bool:
    """Return True if a request carries the secret as a bearer token; compared in constant time."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    # A header may hold any bytes; aiohttp keeps those that are not UTF-8 as surrogates.
    return (
        hmac.compare_digest(token.strip().encode(errors="surrogateescape"), secret.encode())
        and scheme.lower() == "bearer"
    )


def read_payload(body: bytes, content_type: str) -> dict[str, object]:
    """Return the payload of a webhook: a form if the content type says so, else a JSON object.

    Raises:
        ValueError: The body is neither; the message is meant for the sender.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError("the body is not UTF-8: check the destination's template") from error
    if content_type == "application/x-www-form-urlencoded":
        return dict(parse_qsl(text))
    if _depth(text) > MAX_DEPTH:
        raise ValueError("the body is nested too deeply: send a flat object")
    try:
        # Not strict, because templates insert names and overviews unescaped, line breaks included (J43).
        payload = json.loads(text, strict=False)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError("the body is not JSON: check the destination's template") from error
    if not isinstance(payload, dict):
        raise ValueError("the body is not a JSON object: check the destination's template")
    return payload


def _normalize_id(value: object) -> str:
    return str(value or "").replace("-", "").lower()


def _depth(text: str) -> int:
    """Return the nesting depth of a JSON text, without parsing it."""
    depth = max_depth = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        max_depth = max(max_depth, depth)
    return max_depth
