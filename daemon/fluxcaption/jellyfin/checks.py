"""Everything about the server that an owner can get wrong, each with its fix; changes nothing but, for the proof, the events our own destination asks for."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fluxcaption.domain.errors import FluxCaptionError, KeyRejected, ServiceUnreachable
from fluxcaption.jellyfin.admin import NO_JELLYFIN, PROXY, JellyfinAdmin, find_destination, upsert_destination
from fluxcaption.jellyfin.client import (
    NO_TLS,
    NOT_IN_TIME,
    NOT_TRUSTED,
    PAGE,
    REDIRECTS,
    STARTING,
    JellyfinClient,
)
from fluxcaption.jellyfin.parse import read_item, read_version
from fluxcaption.jellyfin.paths import local_path
from fluxcaption.plugin_manifest import webhook_plugin
from fluxcaption.settings import JellyfinConfig as Server
from fluxcaption.settings import Settings

REFUSES_ALL_UPLOADS = (10, 11, 7)
OLDEST = (10, 10, 0)
AMPLE_S = 15.0

Watch = Callable[[str], Awaitable[bool]]
"""Waits until a device id came back to us as a webhook."""


class Severity(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check.

    Attributes:
        fix: What to do; empty where nothing is to be done.
    """

    name: str
    severity: Severity
    text: str
    fix: str = ""


async def check_server(settings: Settings, version: str, watch: Watch | None) -> list[Finding]:
    """Check address, service, key, certificate, version, plugin, round trip, paths and viewers, in the order in which one rests on the other."""
    assert isinstance(settings.server, Server)
    client = JellyfinClient(settings.server, version)
    try:
        return await _check(settings, settings.server, client, watch)
    finally:
        await client.close()


async def _check(
    settings: Settings, server: Server, client: JellyfinClient, watch: Watch | None
) -> list[Finding]:
    admin = JellyfinAdmin(client)
    findings: list[Finding] = []
    try:
        identity = await admin.public_info()
    except ServiceUnreachable as error:
        return [_unreachable(server, error)]
    running = read_version(identity.version)
    findings += [
        Finding("address", Severity.OK, f"{identity.name} answers at {client.url}"),
        Finding("base path", Severity.OK, "the base path is right"),
        Finding("service", Severity.OK, f"it is Jellyfin {identity.version}"),
    ]
    findings.append(_certificate(server))
    findings.append(_version(running, server))
    if running < OLDEST:
        return findings
    try:
        await admin.check_key(server.api_key.get_secret_value() if server.api_key else "")
    except KeyRejected:
        findings.append(
            Finding(
                "key",
                Severity.PROBLEM,
                "the key is not accepted, or is not an administrator's",
                "make a new one: fluxcaption link, or Dashboard > API Keys",
            )
        )
        return findings
    except ServiceUnreachable as error:
        # A server that starts says who it is and no more, at any base path.
        return [_unreachable(server, error)]
    findings.append(Finding("key", Severity.OK, "the key is accepted"))
    checks: tuple[tuple[str, Callable[[], Awaitable[Finding]]], ...] = (
        ("webhook", lambda: _webhook(admin, settings)),
        ("public_url", lambda: _round_trip(admin, settings, watch)),
        ("path_map", lambda: check_paths(client, server)),
        ("viewers", lambda: _viewers(admin)),
    )
    for title, check in checks:
        try:
            findings.append(await check())
        except FluxCaptionError as error:
            findings.append(Finding(title, Severity.PROBLEM, str(error), "see the server's log"))
    return findings


CAUSES = {
    NOT_TRUSTED: (
        "certificate",
        Severity.PROBLEM,
        "set server.ca_file to the certificate authority of the server, and use the name the certificate is for",
    ),
    NO_TLS: (
        "certificate",
        Severity.PROBLEM,
        "write server.url with http://, or turn on HTTPS in Dashboard > Networking",
    ),
    REDIRECTS: (
        "base path",
        Severity.PROBLEM,
        "put the base path of Dashboard > Networking into server.url, and http or https as the browser uses it",
    ),
    PAGE: ("base path", Severity.PROBLEM, "put the base path of Dashboard > Networking into server.url"),
    NO_JELLYFIN: (
        "service",
        Severity.PROBLEM,
        "server.url must be the address with which a browser opens Jellyfin, with its base path",
    ),
    PROXY: (
        "proxy",
        Severity.PROBLEM,
        "let this machine pass it: no login of the proxy's own, and the Authorization header as it was sent",
    ),
    STARTING: (
        "address",
        Severity.WARNING,
        "wait until it has started; a first start after an upgrade may take hours",
    ),
}
"""Check and fix by how the sentence of the cause begins."""


def _unreachable(server: Server, error: ServiceUnreachable) -> Finding:
    known = next((found for cause, found in CAUSES.items() if error.detail.startswith(cause)), None)
    if known is not None:
        name, severity, fix = known
        return Finding(name, severity, error.detail, fix)
    return Finding(
        "address",
        Severity.PROBLEM,
        f"{server.url}: {error.detail}",
        "check that the server runs and that server.url can be reached from here",
    )


def _certificate(server: Server) -> Finding:
    if not server.url.startswith("https://"):
        return Finding("certificate", Severity.SKIPPED, "the server is reached over http")
    if not server.tls_verify and server.ca_file is None:
        return Finding(
            "certificate",
            Severity.WARNING,
            "the server's certificate is not checked",
            "set server.ca_file and remove tls_verify: false",
        )
    return Finding("certificate", Severity.OK, "the certificate is trusted")


def _version(running: tuple[int, int, int], server: Server) -> Finding:
    if running < OLDEST:
        return Finding("version", Severity.PROBLEM, "it is older than 10.10", "update Jellyfin")
    if running == REFUSES_ALL_UPLOADS:
        action = (
            "sidecars are written through path_map meanwhile"
            if server.path_map
            else "set server.path_map meanwhile"
        )
        return Finding(
            "version",
            Severity.PROBLEM,
            "10.11.7 refuses every subtitle upload",
            f"update Jellyfin to 10.11.8 or newer; {action}",
        )
    return Finding("version", Severity.OK, "the version takes uploads")


async def _webhook(admin: JellyfinAdmin, settings: Settings) -> Finding:
    plugin = webhook_plugin()
    installed = await admin.plugin(plugin)
    if installed is None:
        return Finding(
            "webhook",
            Severity.WARNING,
            "the Webhook plugin is not installed: new films are found by scans only",
            "run fluxcaption link",
        )
    if installed.status != "Active":
        fix = "restart Jellyfin" if installed.status == "Restart" else "run fluxcaption link"
        return Finding("webhook", Severity.WARNING, f"the Webhook plugin is {installed.status}", fix)
    configuration = await admin.configuration(plugin)
    if configuration is None:
        return Finding(
            "webhook", Severity.WARNING, "the Webhook plugin is not loaded yet", "restart Jellyfin"
        )
    ours = find_destination(configuration, plugin.destination["WebhookName"])
    if ours is None:
        return Finding(
            "webhook",
            Severity.WARNING,
            "the Webhook plugin has no destination FluxCaption",
            "run fluxcaption link",
        )
    wanted = f"{settings.web.public_url.rstrip('/')}/webhook/jellyfin"
    secret = settings.web.webhook_secret.get_secret_value() if settings.web.webhook_secret else ""
    sent = {
        str(entry.get("Key", "")).lower(): str(entry.get("Value", "")) for entry in ours.get("Headers") or []
    }
    if settings.web.public_url and ours.get("WebhookUri") != wanted:
        return Finding(
            "webhook",
            Severity.PROBLEM,
            f"the destination calls {ours.get('WebhookUri')} instead of {wanted}",
            "run fluxcaption link",
        )
    if sent.get("authorization") != f"Bearer {secret}" or not secret:
        return Finding(
            "webhook",
            Severity.PROBLEM,
            "the destination sends another secret than web.webhook_secret",
            "run fluxcaption link",
        )
    wrong = _differences(ours, plugin.destination)
    if sent.get("content-type") != "application/json":
        # With a charset the plugin throws, and the event is lost.
        wrong.append("Headers")
    if wrong:
        return Finding(
            "webhook",
            Severity.PROBLEM,
            f"the destination is not as it should be: {', '.join(wrong)}",
            "run fluxcaption link",
        )
    return Finding("webhook", Severity.OK, f"the Webhook plugin {installed.version} is set up")


def _differences(ours: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Members of our destination that are not as we set them; address and secret are looked at by themselves."""
    return [
        name
        for name, value in wanted.items()
        if name not in {"WebhookUri", "Headers"} and ours.get(name) != value
    ]


async def _round_trip(admin: JellyfinAdmin, settings: Settings, watch: Watch | None) -> Finding:
    if not settings.web.public_url:
        return Finding(
            "public_url",
            Severity.WARNING,
            "web.public_url is not set",
            "set it to the address under which Jellyfin can call this daemon",
        )
    if watch is None:
        return Finding(
            "public_url",
            Severity.SKIPPED,
            "no daemon runs here that the server could call",
            "start it, then run fluxcaption doctor again",
        )
    seen = await prove(admin, watch, AMPLE_S)
    if seen is None:
        return Finding("public_url", Severity.SKIPPED, "there is no destination to try")
    if not seen:
        fix = "web.listen must be reachable from the server (0.0.0.0, a published port, no firewall), and public_url must name this machine from there"
        return Finding(
            "public_url",
            Severity.PROBLEM,
            f"the server called {settings.web.public_url}, and nothing arrived within 15 s",
            fix,
        )
    return Finding("public_url", Severity.OK, "an event came the whole way round")


async def prove(admin: JellyfinAdmin, watch: Watch, patience_s: float) -> bool | None:
    """Have the server send one harmless event and see whether it arrives; the destination is as before afterwards. None where there is none."""
    kinds = webhook_plugin().destination["NotificationTypes"]
    device = f"fluxcaption-proof-{uuid.uuid4().hex}"
    if not await _subscribe(admin, [*kinds, "SessionStart"]):
        return None
    try:
        # At once: where our address hangs, the server does not answer before it has given up calling it (9.2).
        _, seen = await asyncio.gather(_begin_session(admin, device, patience_s), watch(device))
        return seen
    finally:
        await _subscribe(admin, kinds)


async def _begin_session(admin: JellyfinAdmin, device: str, patience_s: float) -> None:
    try:
        await admin.begin_session(device, timeout_s=patience_s)
    except ServiceUnreachable as error:
        if error.detail != NOT_IN_TIME:
            raise


async def _subscribe(admin: JellyfinAdmin, kinds: Sequence[str]) -> bool:
    """Change nothing but what our destination is told of, in the configuration as it is now; false where there is no destination."""
    plugin = webhook_plugin()
    configuration = await admin.configuration(plugin) or {}
    ours = find_destination(configuration, plugin.destination["WebhookName"])
    if ours is not None:
        await admin.save_configuration(
            plugin, upsert_destination(configuration, {**ours, "NotificationTypes": list(kinds)})
        )
    return ours is not None


async def check_paths(client: JellyfinClient, server: Server) -> Finding:
    """Whether a file of each library is where the map says."""
    if not server.path_map:
        return Finding("path_map", Severity.OK, "no folders are mapped: sound is streamed from the server")
    pairs = [(pair.server, pair.local) for pair in server.path_map]
    answer = await client.call("GET", "/Library/VirtualFolders")
    bad = []
    for folder in answer.rows(client.url):
        params = {
            "parentId": str(folder.get("ItemId")),
            "recursive": "true",
            "includeItemTypes": "Movie,Episode,Video",
            "fields": "Path,MediaSources",
            "limit": "1",
        }
        params |= {"collapseBoxSetItems": "false", "excludeLocationTypes": "Virtual", "enableImages": "false"}
        rows = (await client.call("GET", "/Items", params=params)).mapping(client.url).get("Items") or []
        for source in (source for row in rows for source in read_item(row).sources):
            path = local_path(source.path, pairs)
            if path is None:
                bad.append(f"{source.path} is not below any server folder of path_map")
                continue
            try:
                size = (await asyncio.to_thread(path.stat)).st_size
            except OSError:
                bad.append(f"{path} is not there")
                continue
            if size != source.size_bytes:
                bad.append(f"{path} has another size than the server says")
    if bad:
        return Finding(
            "path_map",
            Severity.PROBLEM,
            "; ".join(bad[:3]),
            "each pair of server.path_map must name one folder as both sides see it",
        )
    return Finding("path_map", Severity.OK, "a file of each library was found under its mapped path")


async def _viewers(admin: JellyfinAdmin) -> Finding:
    plain = [viewer.name for viewer in await admin.viewers() if viewer.mode == "Default"]
    if not plain:
        return Finding("viewers", Severity.OK, "no viewer has subtitles in mode Default")
    text = f"{', '.join(plain[:5])}: with mode Default any file beside a film plays by itself, in whatever language"
    return Finding(
        "viewers",
        Severity.WARNING,
        text,
        "run fluxcaption link, or set the mode to Smart: User > Subtitles > Subtitle mode",
    )
