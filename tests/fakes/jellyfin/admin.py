"""Administration of the fake server: sessions, tasks, accounts, keys, plugins, webhooks and start-up.

Facts: notes/jellyfin-server.md J1, J22 and J40 to J47.
"""

import asyncio
import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp
from aiohttp import web

from tests.fakes.jellyfin.accounts import User
from tests.fakes.jellyfin.answers import answer_json, answer_text, guid, not_found, parameter
from tests.fakes.jellyfin.library import SERVER_ID, FakeItem, new_id
from tests.fakes.jellyfin.names import Version

WEBHOOK = "71552a5a5c5c4350a2aeebe451a30173"
TASKS = {
    "RefreshLibrary": "7738148ffcd07979c7ceb148e06b3aed",
    "WebhookItemAdded": "daa0fb9aa8c102dfc72aebe621c4de22",
    "WebhookItemDeleted": new_id("deleted"),
}
EMPTY_WEBHOOK: dict[str, Any] = {"ServerUrl": ""} | {
    f"{name}Options": []
    for name in (
        "Discord",
        "Generic",
        "GenericForm",
        "Gotify",
        "Pushbullet",
        "Pushover",
        "Slack",
        "Smtp",
        "Mqtt",
    )
}
Handler = Callable[[web.Request], Any]


@dataclass
class Task:
    """A scheduled task.

    Attributes:
        ended: End of the last completed run; None before the first one.
        triggers: The task's schedule, as the server answers it.
        is_armed: True if the triggers were set after a completed run. Triggers that were set before any run
            start the task only after an hour (notes/jellyfin-server.md J42).
        start_count: Number of starts by request.
        duration_s: Duration of a run.
    """

    key: str
    state: str = "Idle"
    started: datetime | None = None
    ended: datetime | None = None
    triggers: list[dict[str, Any]] = field(
        default_factory=lambda: [{"Type": "IntervalTrigger", "IntervalTicks": 300000000}]
    )
    is_armed: bool = False
    start_count: int = 0
    duration_s: float = 0.0

    def complete(self, now: datetime) -> None:
        self.state, self.started, self.ended = "Idle", now, now


class AdminRoutes:
    """Routes of the administration, a base class of the server.

    Attributes:
        now: Current time; a test may replace it by its clock.
        accounts: Accounts by id.
        playing: Items of the current sessions by id, with the time of their last report; None for now.
        activity: Rows of the activity log, newest first.
        plugin_versions: Versions of the webhook plugin in the repository, oldest first.
        installation_error: Reason for which installations end with 500 (J45); empty if they succeed.
        webhook_is_loaded: False between the activation of the plugin and the next start of the server.
        webhook: Configuration of the webhook plugin.
        is_starting: True while the server answers with its start page.
        pending_events: Items added or deleted since the last run of the webhook plugin's task, with the event's name.
        box_sets: Item ids by id of the collection.
    """

    version_text: str
    key: str
    admin_tokens: set[str]
    items: dict[str, FakeItem]

    def __init__(self) -> None:
        self.now: Callable[[], datetime] = lambda: datetime.now(UTC)
        self.accounts: dict[str, User] = {}
        self.playing: dict[str, datetime | None] = {}
        self.activity: list[dict[str, Any]] = []
        self.tasks = {key: Task(key) for key in TASKS}
        self.tasks["RefreshLibrary"].ended = self.tasks["RefreshLibrary"].started = datetime(
            2026, 1, 1, tzinfo=UTC
        )
        self.keys: list[dict[str, Any]] = []
        self.plugins: list[dict[str, Any]] = []
        self.repositories: list[dict[str, Any]] = [
            {
                "Name": "Jellyfin Stable",
                "Url": "https://repo.jellyfin.org/files/plugin/manifest.json",
                "Enabled": True,
            }
        ]
        self.plugin_versions: list[str] = ["17.0.0.0", "18.0.0.0", "21.0.0.0"]
        self.installation_error = ""
        self.webhook_is_loaded = True
        self.webhook: dict[str, Any] = json.loads(json.dumps(EMPTY_WEBHOOK))
        self.is_starting = False
        self.restarts = 0
        self.sessions_seen: set[str] = set()
        self.pending_events: list[tuple[str, FakeItem]] = []
        self.box_sets: dict[str, list[str]] = {}

    @property
    def version(self) -> Version:
        raise NotImplementedError

    def admin_routes(self) -> list[tuple[str, str, Handler]]:
        return [
            ("GET", "/Sessions", self._sessions),
            ("POST", "/Sessions/Capabilities", self._capabilities),
            ("GET", "/ScheduledTasks", self._task_list),
            ("POST", "/ScheduledTasks/Running/{taskId}", self._task_start),
            ("POST", "/ScheduledTasks/{taskId}/Triggers", self._task_triggers),
            ("GET", "/System/ActivityLog/Entries", self._activity),
            ("GET", "/Users", self._user_list),
            ("POST", "/Users/Configuration", self._user_configuration),
            ("POST", "/Users/AuthenticateByName", self._login),
            ("POST", "/Sessions/Logout", self._logout),
            ("GET", "/Auth/Keys", self._key_list),
            ("POST", "/Auth/Keys", self._key_new),
            ("GET", "/Plugins", self._plugin_list),
            ("GET", "/Plugins/{pluginId}/Configuration", self._plugin_configuration),
            ("POST", "/Plugins/{pluginId}/Configuration", self._plugin_configure),
            ("POST", "/Plugins/{pluginId}/{version}/Enable", self._plugin_enable),
            ("GET", "/Repositories", self._repository_list),
            ("GET", "/Packages/{name}", self._package),
            ("POST", "/Packages/Installed/{name}", self._install),
            ("POST", "/System/Restart", self._restart),
        ]

    # Actions of a test

    def start_playback(self, item: FakeItem) -> None:
        """Open a session that plays the item, until `stop_playback`."""
        self.playing[item.id] = None
        self._log("VideoPlayback", ItemId=item.id)

    def stop_playback(self, item: FakeItem) -> None:
        self.playing.pop(item.id, None)
        self._log("VideoPlaybackStopped", ItemId=item.id)

    def begin_library_scan(self) -> None:
        task = self.tasks["RefreshLibrary"]
        task.state, task.started = "Running", self.now()

    def end_library_scan(self, *, dropped_share: float = 0.0) -> int:
        """End the library scan. Return the number of tracks that it dropped.

        Args:
            dropped_share: Share of FluxCaption's tracks, 0 to 1, that are not listed until a refresh (J37).
        """
        task = self.tasks["RefreshLibrary"]
        task.state, task.ended = "Idle", self.now()
        dropped = 0
        for item in self.items.values():
            for source in item.sources:
                for number, name in enumerate(sorted(source.sidecars)):
                    is_dropped = (number + len(item.name)) % 100 < dropped_share * 100
                    if is_dropped and ".fluxcaption." in name:
                        source.unlisted.add(name)
                        item.touch(self.now())
                        dropped += 1
                if not dropped_share:
                    source.unlisted.clear()
        return dropped

    def install_webhook(self, version: str = "21.0.0.0") -> None:
        self.plugins.append(
            {
                "Name": "Webhook",
                "Version": version,
                "ConfigurationFileName": "Jellyfin.Plugin.Webhook.xml",
                "Description": "d",
                "Id": WEBHOOK,
                "CanUninstall": True,
                "HasImage": False,
                "Status": "Active",
            }
        )

    def _log(self, kind: str, **fields: str) -> None:
        entry = {
            "Id": len(self.activity) + 1,
            "Name": kind,
            "Type": kind,
            "Date": format_time(self.now()),
            "UserId": "0" * 32,
            "Severity": "Information",
        }
        self.activity.insert(0, entry | fields)

    # Sessions

    async def _sessions(self, request: web.Request) -> web.Response:
        refused = self._guard(request)
        if refused is not None:
            return refused
        rows = []
        for item_id, last in self.playing.items():
            item = self.items.get(item_id)
            if item is None:
                continue
            now = format_time(last or self.now())
            rows.append(
                {
                    "PlayState": {
                        "PositionTicks": 1,
                        "CanSeek": True,
                        "IsPaused": False,
                        "IsMuted": False,
                        "MediaSourceId": item.sources[0].id,
                        "PlayMethod": "DirectPlay",
                        "RepeatMode": "RepeatNone",
                        "PlaybackOrder": "Default",
                    },
                    "AdditionalUsers": [],
                    "Capabilities": {
                        "PlayableMediaTypes": [],
                        "SupportedCommands": [],
                        "SupportsMediaControl": False,
                        "SupportsPersistentIdentifier": True,
                    },
                    "RemoteEndPoint": "127.0.0.1",
                    "PlayableMediaTypes": [],
                    "Id": new_id(f"session {item_id}"),
                    "UserId": new_id("viewer"),
                    "UserName": "viewer",
                    "Client": "tv",
                    "LastActivityDate": now,
                    "LastPlaybackCheckIn": now,
                    "DeviceName": "tv",
                    "NowPlayingItem": item.dto({"Path", "DateCreated"}, self.version),
                    "DeviceId": "tv",
                    "ApplicationVersion": "1",
                    "IsActive": True,
                    "SupportsMediaControl": False,
                    "SupportsRemoteControl": False,
                    "HasCustomDeviceName": False,
                    "ServerId": SERVER_ID,
                    "SupportedCommands": [],
                }
            )
        response = answer_json(rows)
        response.headers["Date"] = self.now().strftime("%a, %d %b %Y %H:%M:%S GMT")
        return response

    async def _capabilities(self, request: web.Request) -> web.Response:
        refused = self._guard(request)
        if refused is not None:
            return refused
        device = parameter(request.headers.get("Authorization", ""), "DeviceId") or ""
        if device not in self.sessions_seen:
            self.sessions_seen.add(device)
            await self.deliver(
                "SessionStart",
                {
                    "Id": new_id(device),
                    "DeviceId": device,
                    "DeviceName": "host",
                    "Client": "FluxCaption",
                    "NotificationUsername": "",
                },
            )
        return web.Response(status=204)

    async def _activity(self, request: web.Request) -> web.Response:
        refused = self._guard(request, needs_admin=True)
        if refused is not None:
            return refused
        since = request.query.get("minDate", "")
        rows = [row for row in self.activity if row["Date"] >= since][
            : int(request.query.get("limit", "1000"))
        ]
        return answer_json({"Items": rows, "TotalRecordCount": len(rows), "StartIndex": 0})

    # Tasks

    async def _task_list(self, request: web.Request) -> web.Response:
        refused = self._guard(request, needs_admin=True)
        if refused is not None:
            return refused
        rows = []
        for key, task in self.tasks.items():
            if key.startswith("Webhook") and not self._webhook_is_active:
                continue
            row: dict[str, Any] = {
                "Name": key,
                "State": task.state,
                "Id": TASKS[key],
                "Triggers": task.triggers,
                "Description": key,
                "Category": "Library",
                "IsHidden": False,
                "Key": key,
            }
            if task.ended is not None:
                row["LastExecutionResult"] = {
                    "StartTimeUtc": format_time(task.started or task.ended),
                    "EndTimeUtc": format_time(task.ended),
                    "Status": "Completed",
                    "Name": key,
                    "Key": key,
                    "Id": TASKS[key],
                }
            rows.append(row)
        response = answer_json(rows)
        response.headers["Date"] = self.now().strftime("%a, %d %b %Y %H:%M:%S GMT")
        return response

    async def _task_start(self, request: web.Request) -> web.Response:
        refused = self._guard(request, needs_admin=True)
        if refused is not None:
            return refused
        task = self._requested_task(request)
        if task is None:
            return not_found()
        task.start_count += 1
        if task.key == "WebhookItemAdded":
            events, self.pending_events = self.pending_events, []
            for kind, item in events:
                await self.deliver(kind, {"ItemId": item.id, "ItemType": item.kind, "Name": item.name})
        if task.key != "RefreshLibrary":
            task.state = "Running"
            asyncio.get_running_loop().call_later(task.duration_s, lambda: task.complete(self.now()))
        return web.Response(status=204)

    def _requested_task(self, request: web.Request) -> Task | None:
        task_id = guid(request.match_info["taskId"])
        return next((task for key, task in self.tasks.items() if TASKS[key] == task_id), None)

    async def _task_triggers(self, request: web.Request) -> web.Response:
        refused = self._guard(request, needs_admin=True)
        if refused is not None:
            return refused
        task = self._requested_task(request)
        if task is None:
            return not_found()
        task.triggers, task.is_armed = json.loads(await request.read()), task.ended is not None
        return web.Response(status=204)

    # Accounts and keys

    async def _user_list(self, request: web.Request) -> web.Response:
        return self._guard(request) or answer_json([user.dto() for user in self.accounts.values()])

    async def _user_configuration(self, request: web.Request) -> web.Response:
        refused = self._guard(request)
        if refused is not None:
            return refused
        user = self.accounts.get(guid(request.query.get("userId", "")) or "")
        if user is None:
            return not_found()
        if not user.may_be_changed:
            return answer_json("User configuration update not allowed", 403)
        body = json.loads(await request.read())
        user.mode, user.languages = body["SubtitleMode"], body.get("SubtitleLanguagePreference", "")
        return web.Response(status=204)

    async def _login(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        user = next(
            (
                user
                for user in self.accounts.values()
                if (user.name, user.password) == (body.get("Username"), body.get("Pw"))
            ),
            None,
        )
        if user is None:
            return web.Response(status=401)
        token = hashlib.md5(user.name.encode(), usedforsecurity=False).hexdigest()
        (self.admin_tokens if user.is_admin else self.viewer_tokens).add(token)
        return answer_json({"User": user.dto(), "AccessToken": token, "ServerId": SERVER_ID})

    async def _logout(self, request: web.Request) -> web.Response:
        refused = self._guard(request)
        if refused is not None:
            return refused
        token = parameter(request.headers["Authorization"]) or ""
        self.admin_tokens.discard(token)
        self.viewer_tokens.discard(token)
        return web.Response(status=204)

    async def _key_list(self, request: web.Request) -> web.Response:
        return self._guard(request, needs_admin=True) or answer_json(
            {"Items": self.keys, "TotalRecordCount": len(self.keys), "StartIndex": 0}
        )

    async def _key_new(self, request: web.Request) -> web.Response:
        refused = self._guard(request, needs_admin=True)
        if refused is not None:
            return refused
        token = new_id(f"key {len(self.keys)}")
        self.keys.append(
            {
                "Id": len(self.keys) + 1,
                "AccessToken": token,
                "AppName": request.query["app"],
                "IsActive": True,
                "DateCreated": format_time(self.now()),
                "DateLastActivity": format_time(self.now()),
                "UserId": "0" * 32,
            }
        )
        self.admin_tokens.add(token)
        return web.Response(status=204)

    # Plugins

    @property
    def _webhook_is_active(self) -> bool:
        return self.webhook_is_loaded and any(
            plugin["Id"] == WEBHOOK and plugin["Status"] == "Active" for plugin in self.plugins
        )

    async def _plugin_list(self, request: web.Request) -> web.Response:
        return self._guard(request, needs_admin=True) or answer_json(self.plugins)

    async def _plugin_configuration(self, request: web.Request) -> web.Response:
        refused = self._guard(request, needs_admin=True)
        if refused is not None:
            return refused
        if guid(request.match_info["pluginId"]) != WEBHOOK or not self._webhook_is_active:
            return not_found()
        return answer_json(self.webhook)

    async def _plugin_configure(self, request: web.Request) -> web.Response:
        refused = self._guard(request, needs_admin=True)
        if refused is not None:
            return refused
        if guid(request.match_info["pluginId"]) != WEBHOOK or not self._webhook_is_active:
            return not_found()
        body = json.loads(await request.read())
        # The server ignores keys in another case (notes/jellyfin-server.md J44).
        self.webhook = {name: body.get(name, default) for name, default in EMPTY_WEBHOOK.items()}
        return web.Response(status=204)

    async def _plugin_enable(self, request: web.Request) -> web.Response:
        refused = self._guard(request, needs_admin=True)
        if refused is not None:
            return refused
        wanted = guid(request.match_info["pluginId"]), request.match_info["version"]
        plugin = next(
            (plugin for plugin in self.plugins if (plugin["Id"], plugin["Version"]) == wanted), None
        )
        if plugin is None:
            return not_found()
        # The server answers Active at once; the plugin is loaded by the next start.
        plugin["Status"], self.webhook_is_loaded = "Active", False
        return web.Response(status=204)

    async def _repository_list(self, request: web.Request) -> web.Response:
        return self._guard(request, needs_admin=True) or answer_json(self.repositories)

    async def _package(self, request: web.Request) -> web.Response:
        refused = self._guard(request, needs_admin=True)
        if refused is not None:
            return refused
        if request.match_info["name"] != "Webhook" or not self.plugin_versions:
            return not_found()
        versions = [
            {
                "version": text,
                "VersionNumber": text,
                "changelog": "c",
                "targetAbi": "10.10.6.0",
                "repositoryName": "r",
                "repositoryUrl": "u",
            }
            for text in reversed(self.plugin_versions)
        ]
        return answer_json(
            {
                "name": "Webhook",
                "description": "d",
                "overview": "o",
                "owner": "jellyfin",
                "category": "Administration",
                "guid": WEBHOOK,
                "versions": versions,
            }
        )

    async def _install(self, request: web.Request) -> web.Response:
        refused = self._guard(request, needs_admin=True)
        if refused is not None:
            return refused
        if not self.plugin_versions:
            return not_found()
        if self.installation_error:
            self._log(
                "InstallationFailed", Name="Webhook installation failed", Overview=self.installation_error
            )
            return answer_text(500)
        self.plugins = [plugin for plugin in self.plugins if plugin["Id"] != WEBHOOK]
        self.install_webhook(request.query.get("version") or self.plugin_versions[-1])
        self.plugins[-1]["Status"] = "Restart"
        return web.Response(status=204)

    async def _restart(self, request: web.Request) -> web.Response:
        refused = self._guard(request, needs_admin=True)
        if refused is not None:
            return refused
        self.restarts += 1
        self.is_starting = True

        def ready() -> None:
            self.is_starting = False
            self.webhook_is_loaded = True
            for plugin in self.plugins:
                if plugin["Status"] == "Restart":
                    plugin["Status"] = "Active"

        asyncio.get_running_loop().call_later(0.3, ready)
        return web.Response(status=204)

    # Webhooks

    async def deliver(self, kind: str, values: dict[str, Any]) -> None:
        """Send an event once to each destination that is configured for it (notes/jellyfin-server.md J41)."""
        payload = {
            "ServerId": SERVER_ID,
            "ServerName": "fake",
            "ServerVersion": self.version_text,
            "ServerUrl": "",
            "NotificationType": kind,
            **values,
        }
        for option in [*self.webhook["GenericOptions"], *self.webhook["GenericFormOptions"]]:
            if kind not in option["NotificationTypes"] or not option.get("EnableWebhook", True):
                continue
            text = json.dumps(payload)
            if not option.get("SendAllProperties"):
                text = base64.b64decode(option.get("Template", "")).decode()
                for name, value in payload.items():
                    text = text.replace("{{" + name + "}}", str(value))
            headers = {"Content-Type": "text/plain; charset=utf-8"} | {
                entry["Key"]: entry["Value"] for entry in option["Headers"]
            }
            try:
                async with (
                    aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(5)) as session,
                    session.post(option["WebhookUri"], data=text.encode(), headers=headers) as answer,
                ):
                    await answer.read()
            except (aiohttp.ClientError, TimeoutError):
                continue

    def _guard(self, request: web.Request, *, needs_admin: bool = False) -> web.Response | None:
        raise NotImplementedError

    viewer_tokens: set[str]


def starting_page(request: web.Request, version: Version, version_text: str) -> web.Response | None:
    """Return the answer of a starting server (J5); None if the route answers as usual."""
    path = request.path.lower()
    if path.endswith("/health"):
        return None
    if path.endswith("/system/info/public") and version >= (10, 11, 0):
        return answer_json(
            {
                "localAddress": "",
                "serverName": "fake",
                "version": version_text,
                "productName": "Jellyfin Server",
                "id": SERVER_ID,
                "startupWizardCompleted": False,
            }
        )
    return unavailable(version)


def unavailable(version: Version) -> web.Response:
    headers = {"Retry-After": "005"} if version >= (10, 11, 0) else {}
    return web.Response(status=503, text="<html>starting</html>", content_type="text/html", headers=headers)


def format_time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f0Z")


__all__ = [
    "TASKS",
    "WEBHOOK",
    "AdminRoutes",
    "Task",
    "User",
    "answer_text",
    "format_time",
    "starting_page",
    "unavailable",
]
