"""Checks of the webhook: plugin and destination, and the delivery of one event."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence

from fluxcaption.domain.errors import ServiceUnreachable
from fluxcaption.jellyfin.admin import JellyfinAdmin, find_destination, upsert_destination
from fluxcaption.jellyfin.answer import NO_ANSWER_IN_TIME
from fluxcaption.jellyfin.findings import Finding, Severity
from fluxcaption.jellyfin.json_fields import Json
from fluxcaption.plugin_manifest import WebhookPlugin, webhook_plugin
from fluxcaption.settings import Settings

DELIVERY_TIMEOUT_S = 15.0
"""Longest wait for the test event."""

WaitForDevice = Callable[[str], Awaitable[bool]]
"""Waits until a webhook event with this device id arrives; returns False after a timeout."""

RUN_LINK = "run fluxcaption link"


async def check_webhook(admin: JellyfinAdmin, settings: Settings) -> Finding:
    """Check that the Webhook plugin is active and that its destination calls this daemon."""
    plugin = webhook_plugin()
    installed = await admin.plugin(plugin)
    if installed is None:
        return _warning("the Webhook plugin is not installed; only scans find new films", RUN_LINK)
    if installed.status != "Active":
        fix = "restart Jellyfin" if installed.status == "Restart" else RUN_LINK
        return _warning(f"the status of the Webhook plugin is {installed.status}", fix)
    configuration = await admin.configuration(plugin)
    if configuration is None:
        return _warning("the Webhook plugin is not loaded yet", "restart Jellyfin")
    destination = find_destination(configuration, plugin.destination["WebhookName"])
    if destination is None:
        return _warning("the Webhook plugin has no destination named FluxCaption", RUN_LINK)
    if fault := _destination_fault(destination, plugin, settings):
        return Finding("webhook", Severity.PROBLEM, fault, RUN_LINK)
    return Finding("webhook", Severity.OK, f"the Webhook plugin {installed.version} is set up")


def _warning(text: str, fix: str) -> Finding:
    return Finding("webhook", Severity.WARNING, text, fix)


def _destination_fault(destination: Json, plugin: WebhookPlugin, settings: Settings) -> str:
    """Return the first fault of our destination; empty if there is none."""
    headers = {
        str(header.get("Key", "")).lower(): str(header.get("Value", ""))
        for header in destination.get("Headers") or []
    }
    expected_uri = webhook_uri(settings.web.public_url)
    secret = settings.web.webhook_secret.get_secret_value() if settings.web.webhook_secret else ""
    if settings.web.public_url and destination.get("WebhookUri") != expected_uri:
        return f"the destination calls {destination.get('WebhookUri')} instead of {expected_uri}"
    if not secret or headers.get("authorization") != f"Bearer {secret}":
        return "the destination sends another secret than web.webhook_secret"
    wrong_fields = [
        name
        for name, value in plugin.destination.items()
        if name not in {"WebhookUri", "Headers"} and destination.get(name) != value
    ]
    if headers.get("content-type") != "application/json":
        # With a charset in this header the plugin throws an exception and loses the event.
        wrong_fields.append("Headers")
    return f"fields of the destination are wrong: {', '.join(wrong_fields)}" if wrong_fields else ""


def webhook_uri(public_url: str) -> str:
    """Return the address of the webhook route below the public address of the daemon."""
    return f"{public_url.rstrip('/')}/webhook/jellyfin"


async def check_webhook_delivery(
    admin: JellyfinAdmin, settings: Settings, wait_for_device: WaitForDevice | None
) -> Finding:
    """Check that an event of the server arrives at the running daemon; skipped if no daemon runs."""
    name = "public_url"
    if not settings.web.public_url:
        return Finding(
            name,
            Severity.WARNING,
            "web.public_url is not set; Jellyfin cannot report new films",
            "set it to the address under which Jellyfin can call this daemon",
        )
    if wait_for_device is None:
        return Finding(
            name,
            Severity.SKIPPED,
            "no daemon is running, so the delivery of events was not tested",
            "start the daemon, then run fluxcaption doctor again",
        )
    is_delivered = await verify_webhook_delivery(admin, wait_for_device, DELIVERY_TIMEOUT_S)
    if is_delivered is None:
        return Finding(name, Severity.SKIPPED, "there is no webhook destination to test")
    if not is_delivered:
        return Finding(
            name,
            Severity.PROBLEM,
            f"the server called {settings.web.public_url}, "
            f"and nothing arrived within {DELIVERY_TIMEOUT_S:.0f} s",
            "make web.listen reachable from the server (0.0.0.0, a published port, no firewall), "
            "and set web.public_url to the name of this machine as the server sees it",
        )
    return Finding(name, Severity.OK, "a test event of the server arrived")


async def verify_webhook_delivery(
    admin: JellyfinAdmin, wait_for_device: WaitForDevice, timeout_s: float
) -> bool | None:
    """Let the server send one harmless event, and wait for its arrival.

    The destination subscribes to session starts during the test only.

    Returns:
        True if the event arrived, False if not, None if there is no destination.
    """
    event_types = webhook_plugin().destination["NotificationTypes"]
    device = f"fluxcaption-probe-{uuid.uuid4().hex}"
    if not await _subscribe(admin, [*event_types, "SessionStart"]):
        return None
    try:
        # In parallel: while our address hangs, the server does not answer until its own call times out (J41).
        _, is_delivered = await asyncio.gather(
            _begin_session(admin, device, timeout_s), wait_for_device(device)
        )
        return is_delivered
    finally:
        await _subscribe(admin, event_types)


async def _begin_session(admin: JellyfinAdmin, device: str, timeout_s: float) -> None:
    """Start a session; a timeout is not an error, because the event may still have been sent."""
    try:
        await admin.begin_session(device, timeout_s=timeout_s)
    except ServiceUnreachable as error:
        if error.detail != NO_ANSWER_IN_TIME:
            raise


async def _subscribe(admin: JellyfinAdmin, event_types: Sequence[str]) -> bool:
    """Set the event types of our destination and nothing else. Return False if there is no destination."""
    plugin = webhook_plugin()
    configuration = await admin.configuration(plugin) or {}
    destination = find_destination(configuration, plugin.destination["WebhookName"])
    if destination is None:
        return False
    updated = upsert_destination(configuration, {**destination, "NotificationTypes": list(event_types)})
    await admin.save_configuration(plugin, updated)
    return True
