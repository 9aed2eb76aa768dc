"""A server's own rooms: keys, plugins, the webhook plugin's settings, tasks, users; for `link`, `doctor` and the daemon's kicks.

Source: server contract 1.3, 4.6, 8.4, 9.3, 9.5 and 10.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fluxcaption.domain.errors import KeyRejected, ServiceUnreachable, UsageError
from fluxcaption.domain.media import ServerIdentity
from fluxcaption.domain.units import ServerId
from fluxcaption.jellyfin.client import SERVICE, JellyfinClient
from fluxcaption.plugin_manifest import WebhookPlugin

KEY_NAME = "FluxCaption"
PROXY = "a proxy before it"
NO_JELLYFIN = "something else answers there, or the base path in server.url is wrong"
INSTALL_S = 180.0
READY_AFTER_S = 300.0
FIRST_RUN_S, LOOK_AT_RUN_S = 60.0, 0.5
"""How long the first run of a task is waited for, and how often it is looked at."""

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Viewer:
    """Somebody with an account.

    Attributes:
        mode: How their subtitles are chosen.
        languages: Preferred subtitle languages, as the server spells them.
        configuration: The whole object, to be written back.
    """

    id: str
    name: str
    mode: str
    languages: tuple[str, ...]
    configuration: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class InstalledPlugin:
    """A plugin as the server lists it."""

    version: str
    status: str


def upsert_destination(configuration: Json, destination: Json) -> dict[str, Any]:
    """The plugin's whole configuration with our destination added, or repaired where it is; everything else as it was."""
    options: list[dict[str, Any]] = []
    is_placed = False
    for option in configuration.get("GenericOptions") or []:
        if option.get("WebhookName") != destination["WebhookName"]:
            options.append(dict(option))
        elif not is_placed:
            # In its place: what a destination adds reaches those after it, too (9.1).
            options.append({**option, **destination})
            is_placed = True
    return {**configuration, "GenericOptions": options if is_placed else [*options, dict(destination)]}


def find_destination(configuration: Json, name: str) -> Json | None:
    """Our destination in the plugin's configuration."""
    return next(
        (option for option in configuration.get("GenericOptions") or [] if option.get("WebhookName") == name),
        None,
    )


class JellyfinAdmin:
    """What only an administrator's key may do."""

    def __init__(self, client: JellyfinClient) -> None:
        self._client = client

    async def public_info(self) -> ServerIdentity:
        """Who the server says it is, to anybody.

        Raises:
            ServiceUnreachable: No Jellyfin answers there.
        """
        url = self._client.url
        # Jellyfin itself asks nobody for a key here.
        answer = await self._client.call("GET", "/System/Info/Public", expected=frozenset({401, 403, 404}))
        if answer.status in {401, 403}:
            raise ServiceUnreachable(
                SERVICE, url, f"{PROXY} wants a login of its own (status {answer.status})"
            )
        if answer.status == 404 or "json" not in answer.content_type:
            raise ServiceUnreachable(SERVICE, url, NO_JELLYFIN)
        info = {name.lower(): value for name, value in answer.mapping(url).items()}
        if "jellyfin" not in str(info.get("productname", "")).lower():
            raise ServiceUnreachable(SERVICE, url, NO_JELLYFIN)
        return ServerIdentity(
            ServerId(str(info.get("id", ""))),
            str(info.get("servername", "Jellyfin")),
            str(info.get("version")),
        )

    async def check_key(self, key: str) -> None:
        """Make sure that the key is one of an administrator (A1).

        Raises:
            KeyRejected: It is not.
            ServiceUnreachable: It is, but a proxy keeps it from the server.
        """
        try:
            await self._client.call("GET", "/System/Info")
        except KeyRejected as rejected:
            nameless = {"Authorization": f'MediaBrowser Client="{KEY_NAME}"'}
            try:
                await self._client.call("GET", "/System/Info", params={"ApiKey": key}, headers=nameless)
            except KeyRejected:
                raise rejected from None
            raise ServiceUnreachable(
                SERVICE, self._client.url, f"{PROXY} takes the Authorization header away"
            ) from rejected
        await self._client.call("GET", "/Library/VirtualFolders")

    async def log_in(self, user: str, password: str) -> str:
        """Get a token for an administrator; `log_out` ends it.

        Raises:
            UsageError: Name and password are wrong, or it is no administrator.
        """
        body = {"Username": user, "Pw": password}
        answer = await self._client.call(
            "POST", "/Users/AuthenticateByName", body=body, expected=frozenset({401, 403})
        )
        if answer.status in {401, 403}:
            raise UsageError(
                f"Jellyfin does not accept this name and password: is {user} the name of an account, and not disabled?"
            )
        found = answer.mapping(self._client.url)
        token = str(found.get("AccessToken", ""))
        if not ((found.get("User") or {}).get("Policy") or {}).get("IsAdministrator"):
            await self.log_out(token)
            raise UsageError(f"{user} is no administrator of Jellyfin: give --user the name of one")
        return token

    async def log_out(self, token: str) -> None:
        """End a login."""
        await self._client.call(
            "POST",
            "/Sessions/Logout",
            headers={"Authorization": f'MediaBrowser Token="{token}", Client="{KEY_NAME}"'},
        )

    async def ensure_api_key(self) -> str:
        """The API key that carries our name, made if there is none."""
        for _ in range(2):
            answer = await self._client.call("GET", "/Auth/Keys")
            rows = answer.mapping(self._client.url).get("Items") or []
            if found := next((str(row["AccessToken"]) for row in rows if row.get("AppName") == KEY_NAME), ""):
                return found
            await self._client.call("POST", "/Auth/Keys", params={"app": KEY_NAME})
        raise KeyRejected(SERVICE, self._client.url)

    async def plugin(self, plugin: WebhookPlugin) -> InstalledPlugin | None:
        """The plugin as it is installed; the best one where several versions are listed."""
        answer = await self._client.call("GET", "/Plugins")
        found = [
            row
            for row in answer.rows(self._client.url)
            if str(row.get("Id", "")).replace("-", "").lower() == plugin.id
        ]
        found.sort(
            key=lambda row: (row.get("Status") == "Active", row.get("Status") == "Restart"), reverse=True
        )
        return (
            InstalledPlugin(str(found[0].get("Version", "")), str(found[0].get("Status", "")))
            if found
            else None
        )

    async def install(self, plugin: WebhookPlugin, version: str) -> str:
        """Install it from the server's repositories; returns why that failed, empty where it did not."""
        params = {"assemblyGuid": plugin.guid, "version": version}
        answer = await self._client.call(
            "POST",
            f"/Packages/Installed/{plugin.name}",
            params=params,
            timeout_s=INSTALL_S,
            expected=frozenset({404, 500}),
        )
        if answer.status == 404:
            return f"the server offers no such plugin: is {plugin.repository_url} among its repositories (Dashboard > Plugins > Repositories)?"
        return await self._cause_of_failure() if answer.status == 500 else ""

    async def _cause_of_failure(self) -> str:
        """What the activity log says of the latest installation that failed (10.2)."""
        answer = await self._client.call("GET", "/System/ActivityLog/Entries", params={"limit": "50"})
        entries = answer.mapping(self._client.url).get("Items") or []
        cause = next(
            (
                str(entry.get("Overview") or entry.get("Name"))
                for entry in entries
                if entry.get("Type") == "InstallationFailed"
            ),
            "see its log",
        )
        return f"the server could not install the plugin: {cause}"

    async def enable(self, plugin: WebhookPlugin, installed: InstalledPlugin) -> None:
        """Let the server load a plugin that was switched off, from its next start on."""
        await self._client.call("POST", f"/Plugins/{plugin.id}/{installed.version}/Enable")

    async def restart(self) -> None:
        """Restart the server and wait until it answers again."""
        await self._client.call("POST", "/System/Restart")
        await asyncio.sleep(0.5)
        loop = asyncio.get_running_loop()
        until = loop.time() + READY_AFTER_S
        while True:
            try:
                await self._client.call("GET", "/System/Info")
            except ServiceUnreachable:
                if loop.time() > until:
                    raise
                await asyncio.sleep(1)
            else:
                return

    async def configuration(self, plugin: WebhookPlugin) -> dict[str, Any] | None:
        """The plugin's whole configuration; None while it is not loaded."""
        answer = await self._client.call(
            "GET", f"/Plugins/{plugin.id}/Configuration", expected=frozenset({404})
        )
        return dict(answer.mapping(self._client.url)) if answer.status == 200 else None

    async def save_configuration(self, plugin: WebhookPlugin, value: Json) -> None:
        """Write the whole configuration; effective at once."""
        await self._client.call("POST", f"/Plugins/{plugin.id}/Configuration", body=value)

    async def begin_session(self, device: str, *, timeout_s: float) -> None:
        """Begin a session under a fresh device id, which the plugin tells its destinations of before the server answers."""
        authorization = ", ".join(
            part if not part.strip().startswith("DeviceId=") else f'DeviceId="{device}"'
            for part in self._client.authorization().split(", ")
        )
        await self._client.call(
            "POST", "/Sessions/Capabilities", headers={"Authorization": authorization}, timeout_s=timeout_s
        )

    async def trigger_webhook_tasks(self, plugin: WebhookPlugin) -> None:
        """Have the plugin send its news now, and arm the timers of tasks that have never completed a run (9.3)."""
        tasks = await self._tasks(plugin)
        for task in tasks:
            await self._client.call("POST", f"/ScheduledTasks/Running/{task['Id']}")
        waiting = {str(task["Id"]) for task in tasks if not task.get("LastExecutionResult")}
        until = asyncio.get_running_loop().time() + FIRST_RUN_S
        while waiting and asyncio.get_running_loop().time() < until:
            for task in await self._tasks(plugin):
                # Written any earlier, the timer would be set to an hour once more: it goes by the run that is completed.
                if task["Id"] in waiting and task.get("LastExecutionResult"):
                    await self._client.call(
                        "POST", f"/ScheduledTasks/{task['Id']}/Triggers", body=task.get("Triggers") or []
                    )
                    waiting.remove(task["Id"])
            if waiting:
                await asyncio.sleep(LOOK_AT_RUN_S)

    async def _tasks(self, plugin: WebhookPlugin) -> Sequence[Json]:
        answer = await self._client.call("GET", "/ScheduledTasks")
        return [task for task in answer.json(self._client.url) if task.get("Key") in plugin.tasks]

    async def viewers(self) -> Sequence[Viewer]:
        """Everybody with an account."""
        rows = (await self._client.call("GET", "/Users")).rows(self._client.url)
        found = []
        for row in rows:
            configuration = row.get("Configuration") or {}
            languages = tuple(
                part for part in str(configuration.get("SubtitleLanguagePreference") or "").split(",") if part
            )
            found.append(
                Viewer(
                    str(row["Id"]),
                    str(row.get("Name", "")),
                    str(configuration.get("SubtitleMode", "Default")),
                    languages,
                    configuration,
                )
            )
        return found

    async def set_mode(self, viewer: Viewer, mode: str) -> bool:
        """Change how somebody's subtitles are chosen; returns whether the server let us."""
        body = {**viewer.configuration, "SubtitleMode": mode}
        try:
            await self._client.call("POST", "/Users/Configuration", params={"userId": viewer.id}, body=body)
        except KeyRejected:
            return False
        return True

    async def is_playing(self) -> bool:
        """Whether something is on."""
        rows = (await self._client.call("GET", "/Sessions", params={"activeWithinSeconds": "120"})).rows(
            self._client.url
        )
        return any(isinstance(row.get("NowPlayingItem"), Mapping) for row in rows)
