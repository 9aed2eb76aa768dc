"""Everything about the server that an owner can get wrong, each with its fix; changes nothing but, for the proof, the events our own destination asks for."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from fluxcaption.domain.errors import JobError, KeyRejected, ServiceUnreachable
from fluxcaption.jellyfin.admin import JellyfinAdmin, our_destination, with_destination
from fluxcaption.jellyfin.client import JellyfinClient
from fluxcaption.jellyfin.parse import read_item
from fluxcaption.jellyfin.paths import local_path
from fluxcaption.plugin_manifest import webhook_plugin
from fluxcaption.settings import JellyfinServer as Server
from fluxcaption.settings import Settings

REFUSES_ALL_UPLOADS = (10, 11, 7)
OLDEST = (10, 10, 0)
AMPLE_S = 15.0

Watch = Callable[[str], Awaitable[bool]]
"""Waits until a device id came back to us as a webhook."""


class Grade(StrEnum):
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
    grade: Grade
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


async def _check(settings: Settings, server: Server, client: JellyfinClient, watch: Watch | None) -> list[Finding]:
    admin = JellyfinAdmin(client)
    findings: list[Finding] = []
    try:
        name, running = await admin.public_info()
    except ServiceUnreachable as error:
        findings.append(_unreachable(server, error))
        return findings
    findings += [
        Finding("address", Grade.OK, f"{name} answers at {client.url}"),
        Finding("base path", Grade.OK, "the base path is right"),
        Finding("service", Grade.OK, f"it is Jellyfin {'.'.join(str(part) for part in running)}"),
    ]
    findings.append(_certificate(server))
    findings.append(_version(running, server))
    try:
        await admin.check_key()
    except KeyRejected:
        findings.append(
            Finding("key", Grade.PROBLEM, "the key is not accepted, or is not an administrator's", "make a new one: fluxcaption link, or Dashboard > API Keys")
        )
        return findings
    except ServiceUnreachable as error:
        return [*findings, _unreachable(server, error)]
    findings.append(Finding("key", Grade.OK, "the key is accepted"))
    checks: tuple[tuple[str, Callable[[], Awaitable[Finding]]], ...] = (
        ("webhook", lambda: _webhook(admin, settings, running)),
        ("public_url", lambda: _round_trip(admin, settings, watch)),
        ("path_map", lambda: check_paths(client, server)),
        ("viewers", lambda: _viewers(admin)),
    )
    for title, check in checks:
        try:
            findings.append(await check())
        except JobError as error:
            findings.append(Finding(title, Grade.PROBLEM, str(error), "see the server's log"))
    return findings


def _unreachable(server: Server, error: ServiceUnreachable) -> Finding:
    if "certificate" in error.detail:
        return Finding("certificate", Grade.PROBLEM, "its certificate is not trusted", "set server.ca_file to the certificate authority of the server")
    if "redirect" in error.detail or "page instead" in error.detail:
        return Finding(
            "base path", Grade.PROBLEM, error.detail, "put the base path of Dashboard > Networking into server.url, and http or https as the browser uses it"
        )
    if "something else" in error.detail:
        return Finding("service", Grade.PROBLEM, error.detail, "server.url must be the address with which a browser opens Jellyfin")
    if "starting" in error.detail:
        return Finding("address", Grade.WARNING, error.detail, "wait until it has started; a first start after an upgrade may take hours")
    return Finding("address", Grade.PROBLEM, f"{server.url}: {error.detail}", "check that the server runs and that server.url can be reached from here")


def _certificate(server: Server) -> Finding:
    if not server.url.startswith("https://"):
        return Finding("certificate", Grade.SKIPPED, "the server is reached over http")
    if not server.tls_verify and server.ca_file is None:
        return Finding("certificate", Grade.WARNING, "the server's certificate is not checked", "set server.ca_file and remove tls_verify: false")
    return Finding("certificate", Grade.OK, "the certificate is trusted")


def _version(running: tuple[int, int, int], server: Server) -> Finding:
    if running < OLDEST:
        return Finding("version", Grade.PROBLEM, "it is older than 10.10", "update Jellyfin")
    if running == REFUSES_ALL_UPLOADS:
        way = "sidecars are written through path_map meanwhile" if server.path_map else "set server.path_map meanwhile"
        return Finding("version", Grade.PROBLEM, "10.11.7 refuses every subtitle upload", f"update Jellyfin to 10.11.8 or newer; {way}")
    return Finding("version", Grade.OK, "the version takes uploads")


async def _webhook(admin: JellyfinAdmin, settings: Settings, running: tuple[int, int, int]) -> Finding:
    plugin = webhook_plugin()
    installed = await admin.plugin(plugin)
    if installed is None:
        return Finding("webhook", Grade.WARNING, "the Webhook plugin is not installed: new films are found by scans only", "run fluxcaption link")
    if installed.status != "Active":
        fix = "restart Jellyfin" if installed.status == "Restart" else f"update it to {plugin.version_for(running)}: run fluxcaption link"
        return Finding("webhook", Grade.WARNING, f"the Webhook plugin is {installed.status}", fix)
    configuration = await admin.configuration(plugin)
    ours = our_destination(configuration or {}, plugin.destination["WebhookName"])
    if ours is None:
        return Finding("webhook", Grade.WARNING, "the Webhook plugin has no destination FluxCaption", "run fluxcaption link")
    wanted = f"{settings.web.public_url.rstrip('/')}/webhook/jellyfin"
    secret = settings.web.webhook_secret.get_secret_value() if settings.web.webhook_secret else ""
    sent = {str(entry.get("Key", "")).lower(): str(entry.get("Value", "")) for entry in ours.get("Headers") or []}
    if settings.web.public_url and ours.get("WebhookUri") != wanted:
        return Finding("webhook", Grade.PROBLEM, f"the destination calls {ours.get('WebhookUri')} instead of {wanted}", "run fluxcaption link")
    if sent.get("authorization") != f"Bearer {secret}" or not secret:
        return Finding("webhook", Grade.PROBLEM, "the destination sends another secret than web.webhook_secret", "run fluxcaption link")
    if "charset" in sent.get("content-type", ""):
        return Finding(
            "webhook", Grade.PROBLEM, "the destination's Content-Type has a charset: the plugin throws and the event is lost", "run fluxcaption link"
        )
    if "ItemAdded" not in (ours.get("NotificationTypes") or []) or not ours.get("EnableWebhook", True):
        return Finding("webhook", Grade.PROBLEM, "the destination does not send ItemAdded", "run fluxcaption link")
    return Finding("webhook", Grade.OK, f"the Webhook plugin {installed.version} is set up")


async def _round_trip(admin: JellyfinAdmin, settings: Settings, watch: Watch | None) -> Finding:
    if not settings.web.public_url:
        return Finding("public_url", Grade.WARNING, "web.public_url is not set", "set it to the address under which Jellyfin can call this daemon")
    if watch is None:
        return Finding("public_url", Grade.SKIPPED, "no daemon runs here that the server could call", "start it, then run fluxcaption doctor again")
    seen = await prove(admin, watch)
    if seen is None:
        return Finding("public_url", Grade.SKIPPED, "there is no destination to try")
    if not seen:
        fix = "web.listen must be reachable from the server (0.0.0.0, a published port, no firewall), and public_url must name this machine from there"
        return Finding("public_url", Grade.PROBLEM, f"the server called {settings.web.public_url}, and nothing arrived within 15 s", fix)
    return Finding("public_url", Grade.OK, "an event came the whole way round")


async def prove(admin: JellyfinAdmin, watch: Watch) -> bool | None:
    """Have the server send one harmless event and see whether it arrives; the destination is as before afterwards. None where there is none."""
    plugin = webhook_plugin()
    before = await admin.configuration(plugin)
    ours = our_destination(before or {}, plugin.destination["WebhookName"])
    if before is None or ours is None:
        return None
    kinds = [kind for kind in ours["NotificationTypes"] if kind != "SessionStart"]
    try:
        await admin.save_configuration(plugin, with_destination(before, {**ours, "NotificationTypes": [*kinds, "SessionStart"]}))
        device = await admin.begin_session()
        return await watch(device)
    finally:
        await admin.save_configuration(plugin, with_destination(before, {**ours, "NotificationTypes": kinds}))


async def check_paths(client: JellyfinClient, server: Server) -> Finding:
    """Whether a file of each library is where the map says."""
    if not server.path_map:
        return Finding("path_map", Grade.OK, "no folders are mapped: sound is streamed from the server")
    pairs = [(pair.server, pair.local) for pair in server.path_map]
    answer = await client.call("GET", "/Library/VirtualFolders")
    bad = []
    for folder in answer.json(client.url):
        params = {
            "parentId": str(folder.get("ItemId")),
            "recursive": "true",
            "includeItemTypes": "Movie,Episode,Video",
            "fields": "Path,MediaSources",
            "limit": "1",
        }
        params |= {"collapseBoxSetItems": "false", "excludeLocationTypes": "Virtual", "enableImages": "false"}
        rows = (await client.call("GET", "/Items", params=params)).json(client.url).get("Items") or []
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
        return Finding("path_map", Grade.PROBLEM, "; ".join(bad[:3]), "each pair of server.path_map must name one folder as both sides see it")
    return Finding("path_map", Grade.OK, "a file of each library was found under its mapped path")


async def _viewers(admin: JellyfinAdmin) -> Finding:
    plain = [viewer.name for viewer in await admin.viewers() if viewer.mode == "Default"]
    if not plain:
        return Finding("viewers", Grade.OK, "no viewer has subtitles in mode Default")
    text = f"{', '.join(plain[:5])}: with mode Default any file beside a film plays by itself, in whatever language"
    return Finding("viewers", Grade.WARNING, text, "run fluxcaption link, or set the mode to Smart: User > Subtitles > Subtitle mode")
