"""The rooms of a server beside its library: sessions, tasks, users, keys, plugins, the webhook plugin, start-up (notes/jellyfin-server.md J1, J22, J40 to J47)."""

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

from tests.fakes.jellyfin.answers import answer_json, answer_text, guid, not_found, parameter
from tests.fakes.jellyfin.library import SERVER_ID, FakeItem, Source, new_id
from tests.fakes.jellyfin.names import Version

WEBHOOK = "71552a5a5c5c4350a2aeebe451a30173"
TASKS = {
    "RefreshLibrary": "7738148ffcd07979c7ceb148e06b3aed",
    "WebhookItemAdded": "daa0fb9aa8c102dfc72aebe621c4de22",
    "WebhookItemDeleted": new_id("deleted"),
}
NEVER = "0001-01-01T00:00:00.0000000Z"
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
class User:
    """Somebody with an account."""

    name: str
    id: str
    password: str = "x"
    is_admin: bool = False
    mode: str = "Default"
    languages: str = ""
    audio: str = ""
    may_be_changed: bool = True

    def dto(self) -> dict[str, Any]:
        return {
            "Name": self.name,
            "ServerId": SERVER_ID,
            "Id": self.id,
            "HasPassword": True,
            "HasConfiguredPassword": True,
            "HasConfiguredEasyPassword": False,
            "EnableAutoLogin": False,
            "Configuration": {
                "PlayDefaultAudioTrack": True,
                "SubtitleLanguagePreference": self.languages,
                **({"AudioLanguagePreference": self.audio} if self.audio else {}),
                "DisplayMissingEpisodes": False,
                "GroupedFolders": [],
                "SubtitleMode": self.mode,
                "DisplayCollectionsView": False,
                "EnableLocalPassword": False,
                "OrderedViews": [],
                "LatestItemsExcludes": [],
                "MyMediaExcludes": [],
                "HidePlayedInLatest": True,
                "RememberAudioSelections": True,
                "RememberSubtitleSelections": True,
                "EnableNextEpisodeAutoPlay": True,
            },
            "Policy": {
                "IsAdministrator": self.is_admin,
                "AuthenticationProviderId": "Default",
                "PasswordResetProviderId": "Default",
            },
        }


@dataclass
class Task:
    """A scheduled task; never completed as long as it has no end.

    Attributes:
        is_armed: Whether its timer goes by its interval; one that was set before any run was completed waits an hour (notes/jellyfin-server.md J42).
        takes_s: How long a run takes.
    """

    key: str
    state: str = "Idle"
    started: datetime | None = None
    ended: datetime | None = None
    triggers: list[dict[str, Any]] = field(
        default_factory=lambda: [{"Type": "IntervalTrigger", "IntervalTicks": 300000000}]
    )
    is_armed: bool = False
    kicks: int = 0
    takes_s: float = 0.0

    def complete(self, now: datetime) -> None:
        self.state, self.started, self.ended = "Idle", now, now


def select_audio(streams: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The sound that plays by itself for a user without a wish: the default one, else the first."""
    sounds = [stream for stream in streams if stream["Type"] == "Audio"]
    return next((stream for stream in sounds if stream.get("IsDefault")), sounds[0] if sounds else None)


def select_subtitle(user: User, streams: list[dict[str, Any]], version: Version) -> int | None:
    """The track that plays by itself for a user (notes/jellyfin-server.md J22)."""
    subtitles = [stream for stream in streams if stream["Type"] == "Subtitle"]
    audio = select_audio(streams) or {}
    wanted = [language for language in user.languages.split(",") if language]

    def is_wanted(stream: dict[str, Any]) -> bool:
        return stream.get("Language") in wanted

    chosen: dict[str, Any] | None = None
    if user.mode == "Default":
        candidates = [
            stream
            for stream in subtitles
            if stream.get("IsExternal") or stream.get("IsDefault") or stream.get("IsForced")
        ]
        candidates.sort(
            key=lambda stream: (
                not stream.get("IsExternal"),
                not stream.get("IsDefault"),
                not is_wanted(stream),
            )
        )
        chosen = candidates[0] if candidates else None
    elif user.mode == "Smart":
        if audio.get("Language") in wanted:
            chosen = next(
                (stream for stream in subtitles if stream.get("IsForced") and is_wanted(stream)), None
            )
        else:
            chosen = next((stream for stream in subtitles if is_wanted(stream)), None)
    elif user.mode == "Always":
        chosen = next(
            (stream for stream in subtitles if is_wanted(stream) and not stream.get("IsForced")), None
        )
        if chosen is None and version < (10, 11, 0):
            chosen = next((stream for stream in subtitles if stream.get("IsExternal")), None)
        chosen = chosen or next((stream for stream in subtitles if stream.get("IsForced")), None)
    elif user.mode == "OnlyForced":
        chosen = next(
            (
                stream
                for stream in subtitles
                if stream.get("IsForced") and (is_wanted(stream) or not stream.get("Language"))
            ),
            None,
        )
    return chosen["Index"] if chosen else None


class AdminRoutes:
    """Mixed into the server; `now` may be replaced by a test's clock."""

    version_text: str
    key: str
    users: set[str]
    items: dict[str, FakeItem]

    def __init__(self) -> None:
        self.now: Callable[[], datetime] = lambda: datetime.now(UTC)
        self.people: dict[str, User] = {}
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
        self.offered: list[str] = ["17.0.0.0", "18.0.0.0", "21.0.0.0"]
        self.installation_fails = ""
        """Why the next installations end with 500 (notes/jellyfin-server.md J45); empty: they do not."""
        self.webhook_is_loaded = True
        self.webhook: dict[str, Any] = json.loads(json.dumps(EMPTY_WEBHOOK))
        self.is_starting = False
        self.restarts = 0
        self.sessions_seen: set[str] = set()
        self.news: list[tuple[str, FakeItem]] = []
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

    # -- what a test does to the server -----------------------------------------------------------------------------

    def somebody_plays(self, item: FakeItem) -> None:
        """A session with that item on, until `stops`."""
        self.playing[item.id] = None
        self._log_play("VideoPlayback", item.id)

    def stops(self, item: FakeItem) -> None:
        self.playing.pop(item.id, None)
        self._log_play("VideoPlaybackStopped", item.id)

    def begin_library_scan(self) -> None:
        task = self.tasks["RefreshLibrary"]
        task.state, task.started = "Running", self.now()

    def end_library_scan(self, *, drops: float = 0.0) -> int:
        """The scan ends; with `drops`, that share of the tracks that came during it is listed no more until a refresh (notes/jellyfin-server.md J37)."""
        task = self.tasks["RefreshLibrary"]
        task.state, task.ended = "Idle", self.now()
        dropped = 0
        for item in self.items.values():
            for source in item.sources:
                for number, name in enumerate(sorted(source.sidecars)):
                    if drops and ".fluxcaption." in name and (number + len(item.name)) % 100 < drops * 100:
                        source.unlisted.add(name)
                        item.touch(self.now())
                        dropped += 1
                if not drops:
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

    def _log_play(self, kind: str, item_id: str) -> None:
        self._log(kind, ItemId=item_id)

    def _log(self, kind: str, **more: str) -> None:
        entry = {
            "Id": len(self.activity) + 1,
            "Name": kind,
            "Type": kind,
            "Date": spell(self.now()),
            "UserId": "0" * 32,
            "Severity": "Information",
        }
        self.activity.insert(0, entry | more)

    # -- sessions ---------------------------------------------------------------------------------------------------

    async def _sessions(self, request: web.Request) -> web.Response:
        refused = self._guard(request)
        if refused is not None:
            return refused
        rows = []
        for item_id, last in self.playing.items():
            item = self.items.get(item_id)
            if item is None:
                continue
            now = spell(last or self.now())
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

    # -- tasks ------------------------------------------------------------------------------------------------------

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
                    "StartTimeUtc": spell(task.started or task.ended),
                    "EndTimeUtc": spell(task.ended),
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
        task = next(
            (task for key, task in self.tasks.items() if TASKS[key] == guid(request.match_info["taskId"])),
            None,
        )
        if task is None:
            return not_found()
        task.kicks += 1
        if task.key == "WebhookItemAdded":
            news, self.news = self.news, []
            for kind, item in news:
                await self.deliver(kind, {"ItemId": item.id, "ItemType": item.kind, "Name": item.name})
        if task.key != "RefreshLibrary":
            task.state = "Running"
            asyncio.get_running_loop().call_later(task.takes_s, lambda: task.complete(self.now()))
        return web.Response(status=204)

    async def _task_triggers(self, request: web.Request) -> web.Response:
        refused = self._guard(request, needs_admin=True)
        if refused is not None:
            return refused
        task = next(
            (task for key, task in self.tasks.items() if TASKS[key] == guid(request.match_info["taskId"])),
            None,
        )
        if task is None:
            return not_found()
        task.triggers, task.is_armed = json.loads(await request.read()), task.ended is not None
        return web.Response(status=204)

    # -- people and keys --------------------------------------------------------------------------------------------

    async def _user_list(self, request: web.Request) -> web.Response:
        return self._guard(request) or answer_json([user.dto() for user in self.people.values()])

    async def _user_configuration(self, request: web.Request) -> web.Response:
        refused = self._guard(request)
        if refused is not None:
            return refused
        user = self.people.get(guid(request.query.get("userId", "")) or "")
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
                for user in self.people.values()
                if (user.name, user.password) == (body.get("Username"), body.get("Pw"))
            ),
            None,
        )
        if user is None:
            return web.Response(status=401)
        token = hashlib.md5(user.name.encode(), usedforsecurity=False).hexdigest()
        (self.users if user.is_admin else self.viewers).add(token)
        return answer_json({"User": user.dto(), "AccessToken": token, "ServerId": SERVER_ID})

    async def _logout(self, request: web.Request) -> web.Response:
        refused = self._guard(request)
        if refused is not None:
            return refused
        token = parameter(request.headers["Authorization"]) or ""
        self.users.discard(token)
        self.viewers.discard(token)
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
                "DateCreated": spell(self.now()),
                "DateLastActivity": spell(self.now()),
                "UserId": "0" * 32,
            }
        )
        self.users.add(token)
        return web.Response(status=204)

    # -- plugins ----------------------------------------------------------------------------------------------------

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
        # A wrongly cased key is dropped without a word (notes/jellyfin-server.md J44).
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
        # Called active at once, though it is loaded by the next start.
        plugin["Status"], self.webhook_is_loaded = "Active", False
        return web.Response(status=204)

    async def _repository_list(self, request: web.Request) -> web.Response:
        return self._guard(request, needs_admin=True) or answer_json(self.repositories)

    async def _package(self, request: web.Request) -> web.Response:
        refused = self._guard(request, needs_admin=True)
        if refused is not None:
            return refused
        if request.match_info["name"] != "Webhook" or not self.offered:
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
            for text in reversed(self.offered)
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
        if not self.offered:
            return not_found()
        if self.installation_fails:
            self._log(
                "InstallationFailed", Name="Webhook installation failed", Overview=self.installation_fails
            )
            return answer_text(500)
        self.plugins = [plugin for plugin in self.plugins if plugin["Id"] != WEBHOOK]
        self.install_webhook(request.query.get("version") or self.offered[-1])
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

    # -- webhooks ---------------------------------------------------------------------------------------------------

    async def deliver(self, kind: str, values: dict[str, Any]) -> None:
        """Send an event to every destination that wants it: once, and never again (notes/jellyfin-server.md J41)."""
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

    viewers: set[str]


def starting_page(request: web.Request, version: Version, version_text: str) -> web.Response | None:
    """What a server that is starting answers; None for what it answers as usual (notes/jellyfin-server.md J5)."""
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
    return starting(version)


def starting(version: Version) -> web.Response:
    headers = {"Retry-After": "005"} if version >= (10, 11, 0) else {}
    return web.Response(status=503, text="<html>starting</html>", content_type="text/html", headers=headers)


def spell(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f0Z")


__all__ = [
    "NEVER",
    "TASKS",
    "WEBHOOK",
    "AdminRoutes",
    "Source",
    "Task",
    "User",
    "answer_text",
    "select_subtitle",
    "spell",
    "starting",
    "starting_page",
]
