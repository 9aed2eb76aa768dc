"""Administration routes of the server: keys, plugins, webhook configuration, tasks and users.

Used by `link` and `doctor`, and by the daemon to trigger the webhook tasks.

Source: notes/jellyfin-server.md J2, J22, J40, J42, J44 and J45.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fluxcaption.domain.errors import KeyRejected, ServiceUnreachable, UsageError
from fluxcaption.domain.media import ServerIdentity
from fluxcaption.domain.units import ServerId
from fluxcaption.jellyfin.activity import fetch_activities, fetch_sessions, fetch_tasks
from fluxcaption.jellyfin.answer import SERVICE
from fluxcaption.jellyfin.client import JellyfinClient
from fluxcaption.jellyfin.json_fields import Json, as_object, query_rows
from fluxcaption.plugin_manifest import WebhookPlugin

KEY_NAME = "FluxCaption"
PROXY = "a proxy in front of the server"
NOT_JELLYFIN = "the address does not lead to Jellyfin: are host, port and base path in server.url right?"
INSTALL_TIMEOUT_S = 180.0
RESTART_DELAY_S = 0.5
"""Time between the restart call and the first check, so that the old process does not answer the check."""

RESTART_TIMEOUT_S, RESTART_POLL_INTERVAL_S = 300.0, 1.0
FIRST_RUN_TIMEOUT_S, TASK_POLL_INTERVAL_S = 60.0, 0.5
"""Longest wait for the first run of a task, and the interval of the checks."""


@dataclass(frozen=True, slots=True)
class User:
    """A user account of the server.

    Attributes:
        subtitle_mode: The server's rule for automatic subtitles: Default, Smart, Always, OnlyForced or None.
        languages: Preferred subtitle languages, in the server's spelling.
        configuration: The complete configuration object; needed to change one setting.
    """

    id: str
    name: str
    subtitle_mode: str
    languages: tuple[str, ...]
    configuration: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class InstalledPlugin:
    """Version and status of a plugin, in the server's spelling."""

    version: str
    status: str


def upsert_destination(configuration: Json, destination: Json) -> dict[str, Any]:
    """Return the plugin configuration with a destination added or updated; all other settings are kept.

    An existing destination keeps its position, because a destination affects those after it (J44).
    Further destinations of the same name are removed.
    """
    options: list[dict[str, Any]] = []
    is_placed = False
    for option in configuration.get("GenericOptions") or []:
        if option.get("WebhookName") != destination["WebhookName"]:
            options.append(dict(option))
        elif not is_placed:
            options.append({**option, **destination})
            is_placed = True
    return {**configuration, "GenericOptions": options if is_placed else [*options, dict(destination)]}


def find_destination(configuration: Json, name: str) -> Json | None:
    """Return the destination of that name in the plugin configuration; None if there is none."""
    destinations = configuration.get("GenericOptions") or []
    return next((option for option in destinations if option.get("WebhookName") == name), None)


class JellyfinAdmin:
    """Calls that need the key or login of an administrator. The caller closes the client.

    Every method may raise ServiceUnreachable or KeyRejected.
    """

    def __init__(self, client: JellyfinClient) -> None:
        self._client = client

    async def public_info(self) -> ServerIdentity:
        """Return the identity of the server; needs no key.

        Raises:
            ServiceUnreachable: Jellyfin does not answer at this address.
        """
        # Jellyfin itself never requires a login on this route, so 401 and 403 come from a proxy.
        answer = await self._client.call("GET", "/System/Info/Public", expected=frozenset({401, 403, 404}))
        if answer.status in {401, 403}:
            raise self._unreachable(f"{PROXY} requires a login (status {answer.status})")
        if answer.status == 404 or "json" not in answer.content_type:
            raise self._unreachable(NOT_JELLYFIN)
        info = {name.lower(): value for name, value in answer.mapping().items()}
        if "jellyfin" not in str(info.get("productname", "")).lower():
            raise self._unreachable(NOT_JELLYFIN)
        return ServerIdentity(
            ServerId(str(info.get("id", ""))),
            str(info.get("servername", "Jellyfin")),
            str(info.get("version")),
        )

    async def check_key(self, key: str) -> None:
        """Check that the server accepts the key as an administrator's (J5).

        Raises:
            KeyRejected: The server rejects the key.
            ServiceUnreachable: The server accepts the key, but a proxy removes it from requests.
        """
        try:
            await self._client.call("GET", "/System/Info")
        except KeyRejected as rejected:
            without_key = {"Authorization": f'MediaBrowser Client="{KEY_NAME}"'}
            try:
                await self._client.call("GET", "/System/Info", params={"ApiKey": key}, headers=without_key)
            except KeyRejected:
                raise rejected from None
            raise self._unreachable(f"{PROXY} removes the Authorization header") from rejected
        await self._client.call("GET", "/Library/VirtualFolders")

    async def log_in(self, user: str, password: str) -> str:
        """Return the token of a new administrator session; `log_out` ends the session.

        Raises:
            UsageError: Name or password is wrong, or the user is not an administrator.
        """
        answer = await self._client.call(
            "POST",
            "/Users/AuthenticateByName",
            body={"Username": user, "Pw": password},
            expected=frozenset({401, 403}),
        )
        if answer.status in {401, 403}:
            raise UsageError(
                f"Jellyfin rejected the login of {user}. "
                "Check the name and the password, and that the account is not disabled."
            )
        login = answer.mapping()
        token = str(login.get("AccessToken", ""))
        if not as_object(as_object(login.get("User")).get("Policy")).get("IsAdministrator"):
            await self.log_out(token)
            raise UsageError(
                f"{user} is not an administrator of Jellyfin. Give the name of an administrator with --user."
            )
        return token

    async def log_out(self, token: str) -> None:
        """End the session of a token."""
        authorization = f'MediaBrowser Token="{token}", Client="{KEY_NAME}"'
        await self._client.call("POST", "/Sessions/Logout", headers={"Authorization": authorization})

    async def ensure_api_key(self) -> str:
        """Return the API key named FluxCaption; create it if it does not exist.

        Raises:
            KeyRejected: The server does not list the key after its creation.
        """
        for _ in range(2):
            answer = await self._client.call("GET", "/Auth/Keys")
            for row in query_rows(answer.mapping()):
                if row.get("AppName") == KEY_NAME:
                    return str(row["AccessToken"])
            await self._client.call("POST", "/Auth/Keys", params={"app": KEY_NAME})
        raise KeyRejected(SERVICE, self._client.url)

    async def plugin(self, plugin: WebhookPlugin) -> InstalledPlugin | None:
        """Return the installed plugin; the active one if the server lists several versions."""
        answer = await self._client.call("GET", "/Plugins")
        versions = [
            row for row in answer.rows() if str(row.get("Id", "")).replace("-", "").lower() == plugin.id
        ]
        if not versions:
            return None
        preference = {"Active": 0, "Restart": 1}
        best = min(versions, key=lambda row: preference.get(str(row.get("Status")), 2))
        return InstalledPlugin(str(best.get("Version", "")), str(best.get("Status", "")))

    async def install(self, plugin: WebhookPlugin, version: str) -> str:
        """Install the plugin from the server's repositories. Return the cause of a failure, empty if none."""
        answer = await self._client.call(
            "POST",
            f"/Packages/Installed/{plugin.name}",
            params={"assemblyGuid": plugin.guid, "version": version},
            timeout_s=INSTALL_TIMEOUT_S,
            expected=frozenset({404, 500}),
        )
        if answer.status == 404:
            return (
                f"The server does not offer the {plugin.name} plugin. "
                f"Add {plugin.repository_url} under Dashboard > Plugins > Repositories."
            )
        if answer.status == 500:
            return f"The server could not install the plugin: {await self._installation_failure()}"
        return ""

    async def _installation_failure(self) -> str:
        """Return the cause of the latest failed installation from the activity log (J45)."""
        for entry in await fetch_activities(self._client, {"limit": "50"}):
            if entry.get("Type") == "InstallationFailed":
                return str(entry.get("Overview") or entry.get("Name"))
        return "the cause is in the server's log"

    async def enable(self, plugin: WebhookPlugin, installed: InstalledPlugin) -> None:
        """Enable a disabled plugin; the server loads it at its next start."""
        await self._client.call("POST", f"/Plugins/{plugin.id}/{installed.version}/Enable")

    async def restart(self) -> None:
        """Restart the server and wait until it answers again.

        Raises:
            ServiceUnreachable: The server did not answer within `RESTART_TIMEOUT_S`.
        """
        await self._client.call("POST", "/System/Restart")
        await asyncio.sleep(RESTART_DELAY_S)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + RESTART_TIMEOUT_S
        while True:
            try:
                await self._client.call("GET", "/System/Info")
            except ServiceUnreachable:
                if loop.time() > deadline:
                    raise
                await asyncio.sleep(RESTART_POLL_INTERVAL_S)
            else:
                return

    async def configuration(self, plugin: WebhookPlugin) -> dict[str, Any] | None:
        """Return the complete configuration of the plugin; None while the plugin is not loaded."""
        path = f"/Plugins/{plugin.id}/Configuration"
        answer = await self._client.call("GET", path, expected=frozenset({404}))
        return dict(answer.mapping()) if answer.status == 200 else None

    async def save_configuration(self, plugin: WebhookPlugin, value: Json) -> None:
        """Replace the complete configuration of the plugin; effective immediately."""
        await self._client.call("POST", f"/Plugins/{plugin.id}/Configuration", body=value)

    async def begin_session(self, device: str, *, timeout_s: float) -> None:
        """Start a session with a new device id.

        The server answers after the plugin has reported the session to its destinations.
        """
        authorization = ", ".join(
            part if not part.strip().startswith("DeviceId=") else f'DeviceId="{device}"'
            for part in self._client.authorization().split(", ")
        )
        headers = {"Authorization": authorization}
        await self._client.call("POST", "/Sessions/Capabilities", headers=headers, timeout_s=timeout_s)

    async def trigger_webhook_tasks(self, plugin: WebhookPlugin) -> None:
        """Start the plugin's tasks, and arm the timers of tasks that have never completed a run (J42).

        Waits up to `FIRST_RUN_TIMEOUT_S` for the first run of such a task.
        """
        tasks = await self._webhook_tasks(plugin)
        for task in tasks:
            await self._client.call("POST", f"/ScheduledTasks/Running/{task['Id']}")
        unarmed = {str(task["Id"]) for task in tasks if not task.get("LastExecutionResult")}
        loop = asyncio.get_running_loop()
        deadline = loop.time() + FIRST_RUN_TIMEOUT_S
        while unarmed and loop.time() < deadline:
            for task in await self._webhook_tasks(plugin):
                # The server computes the timer from the last completed run. Before that run, saving the
                # triggers would set the timer to an hour again.
                if task["Id"] in unarmed and task.get("LastExecutionResult"):
                    triggers = task.get("Triggers") or []
                    await self._client.call("POST", f"/ScheduledTasks/{task['Id']}/Triggers", body=triggers)
                    unarmed.remove(task["Id"])
            if unarmed:
                await asyncio.sleep(TASK_POLL_INTERVAL_S)

    async def _webhook_tasks(self, plugin: WebhookPlugin) -> Sequence[Json]:
        tasks, _ = await fetch_tasks(self._client)
        return [task for task in tasks if task.get("Key") in plugin.tasks]

    async def users(self) -> Sequence[User]:
        """Return all user accounts."""
        answer = await self._client.call("GET", "/Users")
        return [_read_user(row) for row in answer.rows()]

    async def set_subtitle_mode(self, user: User, mode: str) -> bool:
        """Change the subtitle mode of a user. Return True if the server allowed it."""
        body = {**user.configuration, "SubtitleMode": mode}
        try:
            await self._client.call("POST", "/Users/Configuration", params={"userId": user.id}, body=body)
        except KeyRejected:
            return False
        return True

    async def is_playing(self) -> bool:
        """Return True if a recently active session has something open in its player."""
        sessions, _ = await fetch_sessions(self._client)
        return any(isinstance(session.get("NowPlayingItem"), Mapping) for session in sessions)

    def _unreachable(self, detail: str) -> ServiceUnreachable:
        return ServiceUnreachable(SERVICE, self._client.url, detail)


def _read_user(row: Json) -> User:
    configuration = as_object(row.get("Configuration"))
    languages = str(configuration.get("SubtitleLanguagePreference") or "").split(",")
    return User(
        id=str(row["Id"]),
        name=str(row.get("Name", "")),
        subtitle_mode=str(configuration.get("SubtitleMode", "Default")),
        languages=tuple(language for language in languages if language),
        configuration=configuration,
    )
