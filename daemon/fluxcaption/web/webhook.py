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

from fluxcaption.domain.errors import DiskLow
from fluxcaption.domain.units import ItemId, ServerId
from fluxcaption.ports import Clock, Store
from fluxcaption.web.problems import problem

MOST_DEPTH = 20
_ID = re.compile(r"[0-9a-f]{32}")
KINDS = frozenset({"ItemAdded", "ItemDeleted", "PlaybackStart", "PlaybackStop"})


MOST_PROOFS = 64


class Proofs:
    """Device ids that came back, the latest few."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, None] = OrderedDict()

    def add(self, device: str) -> None:
        """One came back."""
        self._seen[device[:200]] = None
        while len(self._seen) > MOST_PROOFS:
            self._seen.popitem(last=False)

    def __contains__(self, device: str) -> bool:
        return device in self._seen


class Webhook:
    """Stores events durably and answers at once; the work is done elsewhere."""

    def __init__(self, store: Store, clock: Clock, secret: str, server_id: ServerId | None, on_event: Callable[[], None]) -> None:
        self._store = store
        self._clock = clock
        self._secret = secret.encode()
        self.server_id = server_id
        self._on_event = on_event
        self.proofs = Proofs()

    async def receive(self, request: web.Request) -> web.Response:
        """Take one event: 202 with its id once it is on disk."""
        if not self._secret:
            return problem(503, "webhook-not-configured", "set web.webhook_secret in the config and send it as Authorization: Bearer")
        given = request.headers.get("Authorization", "").removeprefix("Bearer ").encode()
        if not hmac.compare_digest(given, self._secret):
            return problem(401, "webhook-secret-wrong", "the Authorization header must be Bearer and web.webhook_secret")
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            return problem(415, "encoding-not-supported", "send the body without Content-Encoding")
        try:
            values = read_payload(await request.read(), request.content_type)
        except web.HTTPRequestEntityTooLarge:
            return problem(413, "body-too-large", "a webhook body is at most 64 KiB")
        except ValueError as error:
            return problem(400, "payload-unreadable", str(error))
        kind = str(values.get("NotificationType", ""))
        if kind == "SessionStart":
            # Only `link` and `doctor` have these sent, for a moment, to prove the round trip.
            self.proofs.add(str(values.get("DeviceId", "")))
            return web.json_response({"id": 0}, status=202)
        if kind not in KINDS:
            return problem(400, "notification-unknown", f"NotificationType must be one of {', '.join(sorted(KINDS))}")
        item_id = str(values.get("ItemId", "")).replace("-", "").lower()
        if not _ID.fullmatch(item_id):
            return problem(400, "item-id-missing", "the payload needs ItemId, 32 hex digits with or without dashes")
        server_id = str(values.get("ServerId", "")).replace("-", "").lower()
        if self.server_id is not None and server_id and server_id != self.server_id:
            return problem(403, "wrong-server", "this event is from another server")
        try:
            event_id = await self._store.add_event(self.server_id or ServerId(server_id), kind, ItemId(item_id), self._clock.now())
        except DiskLow as error:
            return problem(503, error.code, str(error))
        self._on_event()
        return web.json_response({"id": event_id}, status=202)


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
        return dict(parse_qsl(text, max_num_fields=500))
    if _depth(text) > MOST_DEPTH:
        raise ValueError("the body is nested too deeply")
    try:
        values = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError("the body is not JSON: check the destination's template") from error
    if not isinstance(values, dict):
        raise ValueError("the body is not a JSON object")
    return values


def _depth(text: str) -> int:
    """Most brackets open at once, counted without parsing; brackets in strings only make it stricter."""
    depth = most = 0
    for sign in text:
        if sign in "[{":
            depth += 1
            most = max(most, depth)
        elif sign in "]}":
            depth -= 1
    return most
