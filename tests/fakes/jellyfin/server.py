"""A Jellyfin server over a real socket, with the behavior of notes/jellyfin-server.md for the routes in use.

The fake imports nothing of the product, records every exchange, and fails where a test says so.
"""

import asyncio
import base64
import binascii
import json
import re
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from aiohttp import web

from tests.fakes.jellyfin.accounts import select_audio, select_subtitle
from tests.fakes.jellyfin.admin import AdminRoutes, format_time, starting_page, unavailable
from tests.fakes.jellyfin.answers import HEX, answer_json, answer_text, guid, invalid, not_found, parameter
from tests.fakes.jellyfin.library import SERVER_ID, FakeItem, Source, new_id
from tests.fakes.jellyfin.names import FORMATS, Version

KEY = "5f0c1a7e2b9d4863a1b2c3d4e5f60718"
OLD_PREFIXES = ("/emby", "/mediabrowser")
"""Base paths of Emby and Media Browser, which 12 no longer answers (notes/jellyfin-server.md J1)."""

PLACEHOLDER = "0" * 31 + "1"
"""Id of a row of the database that is no item."""

_MEDIA_TYPES = {
    "srt": "application/x-subrip",
    "subrip": "application/x-subrip",
    "vtt": "text/vtt",
    "webvtt": "text/vtt",
    "ass": "text/x-ssa",
    "ssa": "text/x-ssa",
    "json": "application/json",
    "js": "application/json",
    "ttml": "application/ttml+xml",
}
"""Media type of a text track by requested format."""

_CODECS = {"srt": "subrip", "subrip": "subrip", "vtt": "vtt", "webvtt": "vtt", "ass": "ass", "ssa": "ssa"}
"""Codec of a text track by requested format."""


@dataclass
class Exchange:
    """One request and its answer.

    Attributes:
        path: Path without the base path.
        route: Path of the route, with names for its parameters.
        version: Version of the server.
        broken: `hung up` if no answer was sent, `half` if only half of it; else empty.
    """

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    status: int
    content_type: str
    answer: bytes
    route: str = ""
    version: str = ""
    broken: str = ""


@dataclass
class Fault:
    """A failure of the next requests of a route.

    Attributes:
        status: Status of the answer; None for the usual one.
        delay_s: Delay before the request is handled.
        hang_up: Handle the request unless it is a GET, then close the connection without an answer.
        half_body: Close the connection after half of the answer.
        accepts_without_writing: Answer an upload with 204 and write nothing.
        nonsense: JSON to answer, which no server would send; not recorded as an exchange.
        listing_delay: Delay between an upload and the listing of its track (notes/jellyfin-server.md J33).
        times: Number of requests that fail.
    """

    status: int | None = None
    delay_s: float = 0.0
    hang_up: bool = False
    half_body: bool = False
    accepts_without_writing: bool = False
    nonsense: Any = None
    listing_delay: timedelta = timedelta(0)
    times: int = 1


FAULT = web.RequestKey("fault", Fault)


@dataclass
class HiddenTrack:
    """An uploaded track that is not listed yet; `due` is None if only a test lists it."""

    due: datetime | None
    source: Source
    name: str
    content: bytes


@dataclass
class Library:
    """One library; `options` replace the default library options of the answer."""

    id: str
    name: str
    kind: str = "movies"
    options: dict[str, Any] = field(default_factory=dict)
    folder: str = "/media/movies"


INSTANCES: "list[FakeJellyfin]" = []
"""All fakes of this process, so that a fixture can check all their exchanges."""


class FakeJellyfin(AdminRoutes):
    """One server; `async with` opens its socket.

    Attributes:
        version_text: Version of the server.
        base: Base path; empty or with a leading slash.
        key: The API key.
        admin_tokens: Tokens with administrator rights.
        viewer_tokens: Tokens without them.
        items: Items by id.
        folders: Answer of the libraries' route; computed from `libraries` if empty.
        received: Exchanges in order, unless `keeps_exchanges` is False.
        faults: Failures by start of "METHOD /route".
        choose_fault: Returns the failure of a request by "METHOD /route"; called before `faults` are read.
        changes_during_playback: Changes of an item during its playback or within ten minutes after it.
        embedded: Text of an embedded track by media source and ordinal.
        extraction_cache: Extracted embedded text by media source and file name.
        accepts_without_writing: Answer each upload with 204 and write nothing.
        hides_new_tracks: Write uploads and do not list them until `show_hidden`.
        hidden: Uploaded tracks that are not listed yet.
        read_only: Ids of media sources whose folder is read-only.
        box_names: Names of the collections by id.
        port: Port to listen on; 0 for a free one.
        tls: TLS context; None for plain HTTP.
        is_changing: False if no item is replaced by another one, which makes a page of a large library cheap.
    """

    def __init__(self, version: str = "10.11.11", base: str = "") -> None:
        super().__init__()
        INSTANCES.append(self)
        self.version_text = version
        self.base = base
        self.key = KEY
        self.items: dict[str, FakeItem] = {}
        self.libraries = [Library(new_id("movies"), "Movies")]
        self.received: list[Exchange] = []
        self.faults: dict[str, list[Fault]] = {}
        self.choose_fault: Callable[[str], Fault | None] | None = None
        self.changes_during_playback: list[str] = []
        self.embedded: dict[tuple[str, int], bytes] = {}
        self.extraction_cache: dict[str, dict[str, bytes]] = {}
        self.accepts_without_writing = False
        self.hides_new_tracks = False
        self.hidden: list[HiddenTrack] = []
        self.read_only: set[str] = set()
        self.admin_tokens: set[str] = set()
        self.viewer_tokens: set[str] = set()
        self.folders: list[dict[str, Any]] = []
        self._runner: web.AppRunner | None = None
        self.url = ""
        self.port = 0
        self.tls: ssl.SSLContext | None = None
        self.keeps_exchanges = True
        self.box_names: dict[str, str] = {}
        self.is_changing = True
        self._sorted: dict[str, tuple[int, list[FakeItem]]] = {}

    @property
    def version(self) -> Version:
        parts = [int(part) for part in re.findall(r"\d+", self.version_text)[:3]] + [0, 0]
        return parts[0], parts[1], parts[2]

    @property
    def _has_placeholder(self) -> bool:
        """Return True if the placeholder is a row of the database: only on 10.11 (J4)."""
        return (10, 11, 0) <= self.version < (12, 0, 0)

    def add(self, *items: FakeItem) -> None:
        for item in items:
            self.items[item.id] = item

    def add_with_event(self, item: FakeItem) -> None:
        """Add an item; the next run of the webhook plugin's task sends its event."""
        self.add(item)
        self.pending_events.append(("ItemAdded", item))

    def delete_with_event(self, item: FakeItem) -> None:
        """Delete an item; the next run of the webhook plugin's task sends its event."""
        del self.items[item.id]
        self.pending_events.append(("ItemDeleted", item))

    def break_next(self, route: str, fault: Fault) -> None:
        """Let the next request fail whose "METHOD /route" begins with `route`."""
        self.faults.setdefault(route, []).append(fault)

    def change_all_ids(self) -> None:
        """Give each item and media source another id, as a rebuilt database does."""
        items, self.items = list(self.items.values()), {}
        for item in items:
            for source in item.sources:
                source.id = new_id(f"again {source.id}")
            item.id = new_id(f"again {item.id}") if not item.sources else item.sources[0].id
            item.touch(self.now())
            self.items[item.id] = item

    def show_hidden(self) -> None:
        """List all hidden tracks."""
        for track in self.hidden:
            track.source.sidecars[track.name] = track.content
        self.hidden.clear()

    def _show_due_tracks(self) -> None:
        waiting = [track for track in self.hidden if track.due is None or track.due > self.now()]
        self.hidden = [track for track in self.hidden if track not in waiting]
        self.show_hidden()
        self.hidden = waiting

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=30_000_000, middlewares=[self._handle])
        routes: list[tuple[str, str, Callable[[web.Request], Awaitable[web.StreamResponse]]]] = [
            ("GET", "/health", self._health),
            ("GET", "/System/Ping", self._ping),
            ("GET", "/System/Info/Public", self._public),
            ("GET", "/System/Info", self._info),
            ("GET", "/Library/VirtualFolders", self._folders),
            ("GET", "/Items", self._items),
            ("GET", "/Items/{itemId}", self._item),
            ("POST", "/Items/{itemId}/Refresh", self._refresh),
            ("POST", "/Videos/{itemId}/Subtitles", self._upload),
            ("DELETE", "/Videos/{itemId}/Subtitles/{index}", self._delete),
            ("GET", "/Videos/{itemId}/{mediaSourceId}/Subtitles/{index}/Stream.{format}", self._track),
            (
                "GET",
                "/Videos/{itemId}/{mediaSourceId}/Subtitles/{index}/{ticks}/Stream.{format}",
                self._track,
            ),
            ("GET", "/Videos/{itemId}/stream", self._stream),
            ("HEAD", "/Videos/{itemId}/stream", self._stream),
            *self.admin_routes(),
        ]
        for method, path, handler in routes:
            app.router.add_route(method, self.base + path, handler)
            if path.startswith("/System"):
                for prefix in OLD_PREFIXES:
                    app.router.add_route(method, self.base + prefix + path, handler)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self.tls)
        await site.start()
        self.url = f"{'https' if self.tls else 'http'}://127.0.0.1:{self._runner.addresses[0][1]}{self.base}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    # Every request

    @web.middleware
    async def _handle(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        body = await request.read()
        route = (
            request.match_info.route.resource.canonical.removeprefix(self.base)
            if request.match_info.route.resource
            else request.path
        )
        self._show_due_tracks()
        if (answer := self._answer_of_no_route(request)) is not None:
            return self._keep(request, route, body, answer)
        fault = self._fault(f"{request.method} {route}") or Fault()
        if request.method in {"POST", "DELETE"} and "itemId" in request.match_info:
            self._record_change(request.match_info["itemId"], f"{request.method} {route}")
        request[FAULT] = fault
        if fault.delay_s:
            await asyncio.sleep(fault.delay_s)
        if fault.hang_up:
            assert request.transport is not None
            if request.method != "GET":
                await handler(request)
            request.transport.abort()
            return self._keep(request, route, body, web.Response(status=499), "hung up")
        if fault.status is not None:
            return self._keep(request, route, body, self._failure(fault.status))
        if fault.nonsense is not None:
            return answer_json(fault.nonsense)
        try:
            response = await handler(request)
        except web.HTTPNotFound:
            response = web.Response(status=404)
        except web.HTTPMethodNotAllowed:
            response = web.Response(status=405)
        if fault.half_body and isinstance(response, web.Response):
            self._keep(request, route, body, response, "half")
            return await self._send_half(request, response)
        return self._keep(request, route, body, response)

    def _answer_of_no_route(self, request: web.Request) -> web.Response | None:
        """Return the answer to a wrong base path or of a starting server; None for a usual request."""
        if not request.path.startswith(self.base + "/"):
            return web.Response(status=302, headers={"Location": f"{self.base}/web/"})
        if self.version >= (12, 0, 0) and request.path.removeprefix(self.base).startswith(OLD_PREFIXES):
            return web.Response(status=404)
        return starting_page(request, self.version, self.version_text) if self.is_starting else None

    @staticmethod
    async def _send_half(request: web.Request, response: web.Response) -> web.StreamResponse:
        """Send the first half of an answer, then close the connection."""
        half = web.StreamResponse(
            status=response.status, headers={"Content-Type": response.headers.get("Content-Type", "")}
        )
        content = bytes(response.body or b"")  # type: ignore[arg-type]
        half.content_length = len(content)
        await half.prepare(request)
        await half.write(content[: len(content) // 2])
        assert request.transport is not None
        request.transport.abort()
        return half

    def _failure(self, status: int) -> web.Response:
        """Return the answer of a server for an error status (notes/jellyfin-server.md J4)."""
        if status == 503:
            return unavailable(self.version)
        return web.Response(status=status) if status in {401, 403} else answer_text(status)

    def _fault(self, name: str) -> Fault | None:
        if self.choose_fault is not None and (fault := self.choose_fault(name)) is not None:
            return fault
        for route, faults in self.faults.items():
            if name.startswith(route) and faults:
                fault = faults[0]
                fault.times -= 1
                if fault.times <= 0:
                    faults.pop(0)
                return fault
        return None

    def _keep(
        self, request: web.Request, route: str, body: bytes, response: web.StreamResponse, broken: str = ""
    ) -> web.StreamResponse:
        content = (
            bytes(response.body)
            if isinstance(response, web.Response) and isinstance(response.body, (bytes, bytearray))
            else b""
        )
        if not self.keeps_exchanges:
            return response
        self.received.append(
            Exchange(
                request.method,
                request.path.removeprefix(self.base),
                dict(request.query),
                dict(request.headers),
                body,
                response.status,
                response.headers.get("Content-Type", "").split(";")[0]
                if content or isinstance(response, web.FileResponse)
                else "",
                content,
                route,
                self.version_text,
                broken,
            )
        )
        return response

    def _record_change(self, item_id: str, name: str) -> None:
        """Record a change of an item that is played, or was played within the last ten minutes."""
        stopped = [
            row
            for row in self.activity
            if row.get("ItemId") == item_id and row["Type"] == "VideoPlaybackStopped"
        ]
        recent = format_time(self.now() - timedelta(minutes=10))
        if item_id in self.playing or (stopped and stopped[0]["Date"] > recent):
            self.changes_during_playback.append(f"{name} {item_id}")

    # Credentials

    def _token(self, request: web.Request) -> str | None:
        header = request.headers.get("Authorization", "")
        token = None
        scheme, _, parameters = header.partition(" ")
        accepts_old_forms = self.version < (12, 0, 0)
        if scheme.lower() == "mediabrowser" or (scheme.lower() == "emby" and accepts_old_forms):
            token = parameter(parameters)
        elif "X-Emby-Authorization" in request.headers and accepts_old_forms:
            token = parameter(request.headers["X-Emby-Authorization"].partition(" ")[2])
        for name in ("X-Emby-Token", "X-MediaBrowser-Token"):
            if token is None and accepts_old_forms:
                token = request.headers.get(name)
        if token is None:
            token = next(
                (
                    value
                    for name, value in request.query.items()
                    if name.lower() == "apikey" or (accepts_old_forms and name == "api_key")
                ),
                None,
            )
        return token

    def _guard(self, request: web.Request, *, needs_admin: bool = False) -> web.Response | None:
        token = self._token(request)
        if token == self.key or token in self.admin_tokens:
            return None
        if token in self.viewer_tokens:
            return web.Response(status=403) if needs_admin else None
        return web.Response(status=401)

    # Routes

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response(text="Healthy", content_type="text/plain")

    async def _ping(self, request: web.Request) -> web.Response:
        return answer_json("Jellyfin Server")

    async def _public(self, request: web.Request) -> web.Response:
        return answer_json(
            {
                "LocalAddress": "http://127.0.0.1:8096",
                "ServerName": "fake",
                "Version": self.version_text,
                "ProductName": "Jellyfin Server",
                "OperatingSystem": "",
                "Id": SERVER_ID,
                "StartupWizardCompleted": True,
            }
        )

    async def _info(self, request: web.Request) -> web.Response:
        if (refused := self._guard(request)) is not None:
            return refused
        value = {
            "OperatingSystemDisplayName": "",
            "HasPendingRestart": False,
            "IsShuttingDown": False,
            "SupportsLibraryMonitor": True,
            "WebSocketPortNumber": 8096,
            "CompletedInstallations": [],
            "CanSelfRestart": True,
            "CanLaunchWebBrowser": False,
            "ProgramDataPath": "/config/data",
            "WebPath": "/config/web",
            "ItemsByNamePath": "/config/data/metadata",
            "CachePath": "/config/cache",
            "LogPath": "/config/log",
            "InternalMetadataPath": "/config/data/metadata",
            "TranscodingTempPath": "/config/cache/transcodes",
            "CastReceiverApplications": [
                {"Id": "F007D354", "Name": "Stable"},
                {"Id": "6F511C87", "Name": "Unstable"},
            ],
            "HasUpdateAvailable": False,
            "EncoderLocation": "System",
            "SystemArchitecture": "X64",
            "LocalAddress": "http://127.0.0.1:8096",
            "ServerName": "fake",
            "Version": self.version_text,
            "OperatingSystem": "",
            "Id": SERVER_ID,
        }
        if self.version >= (10, 11, 0):
            value |= {"ProductName": "Jellyfin Server", "StartupWizardCompleted": True}
        return answer_json(value)

    async def _folders(self, request: web.Request) -> web.Response:
        if (refused := self._guard(request, needs_admin=True)) is not None:
            return refused
        if self.folders:
            return answer_json(self.folders)
        return answer_json(
            [
                {
                    "Name": library.name,
                    "Locations": [library.folder],
                    "CollectionType": library.kind,
                    "LibraryOptions": {
                        "Enabled": True,
                        "SaveSubtitlesWithMedia": True,
                        "AllowEmbeddedSubtitles": "AllowAll",
                        **library.options,
                    },
                    "ItemId": library.id,
                    "RefreshStatus": "Idle",
                }
                for library in self.libraries
            ]
        )

    async def _items(self, request: web.Request) -> web.Response:
        if (refused := self._guard(request)) is not None:
            return refused
        query = {name.lower(): value for name, value in request.query.items()}
        for name in (
            "hassubtitles",
            "ismissing",
            "recursive",
            "collapseboxsetitems",
            "enabletotalrecordcount",
        ):
            if name in query and query[name].lower() not in {"true", "false"}:
                return invalid(name, query[name])
        rows = self.rows(query)
        if isinstance(rows, web.Response):
            return rows
        total = len(rows)
        start, limit = int(query.get("startindex", 0)), query.get("limit")
        page = rows[start : start + int(limit)] if limit is not None else rows[start:]
        fields = {part.strip() for part in query.get("fields", "").split(",")}
        answer: list[dict[str, Any]] = []
        for row in page:
            value = row.dto(fields, self.version) if isinstance(row, FakeItem) else dict(row)
            if (user := self.accounts.get(guid(query.get("userid", "")) or "")) is not None:
                for source in value.get("MediaSources", ()):
                    index = select_subtitle(user, source["MediaStreams"], self.version)
                    if index is not None:
                        source["DefaultSubtitleStreamIndex"] = index
                    if (audio := select_audio(source["MediaStreams"])) is not None:
                        source["DefaultAudioStreamIndex"] = audio["Index"]
            if query.get("enableimages", "true").lower() == "false":
                for name in ("ImageTags", "BackdropImageTags"):
                    value.pop(name, None)
            answer.append(value)
        counted = query.get("enabletotalrecordcount", "true").lower() == "true" or self._ignores_filters(
            query
        )
        return answer_json(
            {"Items": answer, "TotalRecordCount": total if counted else len(page), "StartIndex": start}
        )

    def _ignores_filters(self, query: dict[str, str]) -> bool:
        """Return True if the server loads the whole library and ignores the cursor and the count switch.

        It does so for a query by key without `collapseBoxSetItems=false` (notes/jellyfin-server.md J8).
        """
        return (
            query.get("collapseboxsetitems", "true").lower() != "false"
            and not {"userid", "ids"} & set(query)
            and self.version < (12, 0, 0)
        )

    def rows(self, query: dict[str, str]) -> "list[Any] | web.Response":
        """Return the items or folders that a query lists, or an error; a test may replace this method."""
        recursive = query.get("recursive", "").lower() == "true"
        if "ids" in query:
            ids = [part.replace("-", "").lower() for part in query["ids"].split(",")]
            ids = [part for part in ids if HEX.fullmatch(part)]
            if PLACEHOLDER in ids and self._has_placeholder:
                return answer_text(500)
            if ids:
                return [found for part in ids if (found := self._row(part)) is not None]
            if not recursive:
                return list(self.folders_as_items())
        if not recursive and "parentid" not in query:
            return list(self.folders_as_items())
        parent = query.get("parentid", "").replace("-", "").lower()
        if parent in self.box_sets:
            return [self.items[part] for part in self.box_sets[parent] if part in self.items]
        if query.get("includeitemtypes", "").lower() == "boxset":
            return self._box_set_rows()
        ignores_filters = self._ignores_filters(query)
        if "mindatelastsaved" in query and self.version < (10, 11, 0) and not ignores_filters:
            return answer_text(500)
        rows = self._sorted_rows(parent) if "parentid" in query else list(self.items.values())
        rows = self._filtered(rows, query, by_time=not ignores_filters)
        if query.get("sortby", "").lower().startswith("datecreated"):
            if "parentid" not in query:
                rows.sort(key=lambda row: (row.added, row.name))
        elif self.version >= (10, 11, 0) or "sortby" in query:
            rows.sort(key=lambda row: row.name)
        return rows

    @staticmethod
    def _filtered(rows: list[FakeItem], query: dict[str, str], *, by_time: bool) -> list[FakeItem]:
        if "includeitemtypes" in query:
            kinds = {kind.lower() for kind in query["includeitemtypes"].split(",")}
            rows = [row for row in rows if row.kind.lower() in kinds]
        if "namestartswith" in query:
            rows = [row for row in rows if row.name.lower().startswith(query["namestartswith"].lower())]
        for name in ("mindatelastsaved", "mindatelastsavedforuser"):
            if name in query and by_time:
                since = _parse_time(query[name])
                rows = [row for row in rows if row.saved >= since]
        return rows

    def _box_set_rows(self) -> list[dict[str, Any]]:
        return [
            {
                "Name": name,
                "ServerId": SERVER_ID,
                "Id": box,
                "ChannelId": None,
                "IsFolder": True,
                "Type": "BoxSet",
                "MediaType": "Unknown",
                "LocationType": "FileSystem",
                "ImageBlurHashes": {},
            }
            for box, name in self.box_names.items()
        ]

    def _sorted_rows(self, parent: str) -> list[FakeItem]:
        """Return a library, series or season by date and name; cached unless `is_changing`."""
        cached = self._sorted.get(parent)
        if cached is None or cached[0] != len(self.items) or self.is_changing:
            rows = [
                row
                for row in self.items.values()
                if parent in (row.library, row.extra.get("SeriesId"), row.extra.get("SeasonId"))
            ]
            rows.sort(key=lambda row: (row.added, row.name))
            cached = self._sorted[parent] = (len(self.items), rows)
        return list(cached[1])

    def folders_as_items(self) -> list[dict[str, Any]]:
        return [
            {
                "Name": library.name,
                "ServerId": SERVER_ID,
                "Id": new_id(library.name),
                "ChannelId": None,
                "IsFolder": True,
                "Type": "Folder",
                "ImageTags": {},
                "BackdropImageTags": [],
                "ImageBlurHashes": {},
                "LocationType": "FileSystem",
                "MediaType": "Unknown",
            }
            for library in self.libraries
        ]

    async def _item(self, request: web.Request) -> web.Response:
        if (refused := self._guard(request)) is not None:
            return refused
        item_id = guid(request.match_info["itemId"])
        if item_id is None:
            return invalid("itemId", request.match_info["itemId"])
        if "userId" not in request.query:
            return answer_text(400)
        item = self._row(item_id)
        return (
            answer_json(
                item.dto({"Path", "MediaSources", "Etag", "DateCreated", "ProviderIds"}, self.version)
            )
            if item
            else not_found()
        )

    async def _refresh(self, request: web.Request) -> web.Response:
        if (refused := self._guard(request, needs_admin=True)) is not None:
            return refused
        item_id = guid(request.match_info["itemId"])
        if item_id is None:
            return invalid("itemId", request.match_info["itemId"])
        if item_id == PLACEHOLDER and self._has_placeholder:
            return answer_text(500)
        found = self._source(item_id)
        if found is None:
            return not_found()
        if request.query.get("metadataRefreshMode", "None") != "None":
            item, source = found
            before = {name: source.sidecars[name] for name in source.sidecars if name not in source.unlisted}
            source.unlisted.clear()
            source.read_folder()
            if source.sidecars != before:
                item.touch(self.now())
        return web.Response(status=204)

    async def _upload(self, request: web.Request) -> web.Response:
        if (refused := self._guard(request, needs_admin=True)) is not None:
            return refused
        item_id = guid(request.match_info["itemId"])
        if item_id is None:
            return invalid("itemId", request.match_info["itemId"])
        body = _upload_body(await request.read())
        if isinstance(body, web.Response):
            return body
        found = self._source(item_id)
        if found is None:
            return not_found()
        item, source = found
        language, extension = str(body["language"]).lower(), str(body["format"]).lower()
        if not self._accepts(language, extension):
            return answer_text(400)
        content = _decode(str(body["data"]))
        if isinstance(content, web.Response):
            return content
        is_beside = self._saves_beside_media(item)
        if is_beside and source.id in self.read_only:
            if self.version >= (12, 0, 0):
                return answer_text(500)
            is_beside = False
        fault = request[FAULT]
        if fault.accepts_without_writing or self.accepts_without_writing or {"/", "\\"} & set(language):
            return web.Response(status=204)
        name = self._free_name(source, f"{source.stem}.{language}{_flags(body)}", extension)
        source.unlisted.discard(name)
        if not is_beside:
            source.in_metadata.add(name)
        if self.hides_new_tracks or fault.listing_delay:
            due = None if self.hides_new_tracks else self.now() + fault.listing_delay
            self.hidden.append(HiddenTrack(due, source, name, content))
        else:
            self._write_track(item, source, name, content)
        return web.Response(status=204)

    def _write_track(self, item: FakeItem, source: Source, name: str, content: bytes) -> None:
        source.sidecars[name] = content
        if source.file is not None and name not in source.in_metadata:
            (source.file.parent / name).write_bytes(content)
        item.touch(self.now())

    def _accepts(self, language: str, extension: str) -> bool:
        """Return True if this version takes an upload with that language and format (J29, J30)."""
        if "\0" in language or self.version == (10, 11, 7):
            return False
        return self.version < (10, 11, 7) or (extension in FORMATS and "/" not in language)

    def _free_name(self, source: Source, stem: str, extension: str) -> str:
        """Return the name of the new file; an upload never replaces a file but gets a number."""
        names = {track.name for track in self.hidden if track.source is source} | set(source.sidecars)
        name, number = f"{stem}.{extension}", 0
        while name in names:
            name, number = f"{stem}.{number}.{extension}", number + 1
        return name

    async def _delete(self, request: web.Request) -> web.Response:
        if (refused := self._guard(request, needs_admin=True)) is not None:
            return refused
        item_id = guid(request.match_info["itemId"])
        if item_id == PLACEHOLDER and self._has_placeholder:
            return answer_text(500)
        found = self._source(item_id) if item_id else None
        if found is None:
            return not_found()
        item, source = found
        stream = _stream_at(source.all_streams(self.version), request.match_info["index"])
        if stream is None or stream["Type"] != "Subtitle" or not stream.get("IsExternal"):
            return answer_text(400)
        name = stream["Path"].rsplit("/", 1)[-1]
        del source.sidecars[name]
        is_beside = name not in source.in_metadata
        source.in_metadata.discard(name)
        if source.file is not None and is_beside:
            (source.file.parent / name).unlink(missing_ok=True)
        item.touch(self.now())
        return web.Response(status=204)

    async def _track(self, request: web.Request) -> web.Response:
        wanted = request.match_info["format"]
        if wanted not in _MEDIA_TYPES:
            return answer_text(400)
        item_id = guid(request.match_info["itemId"])
        found = self._source(item_id) if item_id else None
        if found is None:
            return answer_text(400)
        _, source = found
        if request.match_info["mediaSourceId"] != source.id:
            return answer_text(500)
        stream = _stream_at(source.all_streams(self.version), request.match_info["index"])
        if stream is None or stream["Type"] != "Subtitle" or not stream.get("IsTextSubtitleStream"):
            return answer_text(500)
        content_type = _MEDIA_TYPES[wanted]
        if stream.get("IsExternal"):
            content = source.sidecars[stream["Path"].rsplit("/", 1)[-1]]
            if _CODECS.get(wanted) == stream["Codec"]:
                return web.Response(body=content, headers={"Content-Type": content_type})
        else:
            ordinal = [
                other
                for other in source.all_streams(self.version)
                if other["Type"] == "Subtitle" and not other.get("IsExternal")
            ].index(stream)
            content = self._extracted(source, ordinal)
        if wanted in {"json", "js"}:
            return web.Response(
                body=json.dumps(
                    {
                        "TrackEvents": [
                            {
                                "Id": "1",
                                "Text": "line",
                                "StartPositionTicks": 0,
                                "EndPositionTicks": 9_000_000,
                            }
                        ]
                    }
                ).encode(),
                headers={"Content-Type": content_type},
            )
        return web.Response(body=content, headers={"Content-Type": content_type})

    def _extracted(self, source: Source, ordinal: int) -> bytes:
        """Return the cached text of an embedded track.

        The first request fills the cache by index and format. Indexes change with every sidecar, the cache
        does not (notes/jellyfin-server.md J27).
        """

        def text_of(number: int) -> bytes:
            return self.embedded.get((source.id, number), b"1\n00:00:00,000 --> 00:00:00,900\nline 1\n")

        embedded = [
            stream
            for stream in source.all_streams(self.version)
            if stream["Type"] == "Subtitle" and not stream.get("IsExternal")
        ]
        names = [
            f"{stream['Index']}.{'ass' if stream['Codec'] in {'ass', 'ssa'} else 'srt'}"
            for stream in embedded
        ]
        if source.id not in self.extraction_cache:
            self.extraction_cache[source.id] = {name: text_of(number) for number, name in enumerate(names)}
        return self.extraction_cache[source.id].setdefault(names[ordinal], text_of(ordinal))

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        item_id = guid(request.match_info["itemId"])
        found = (
            self._source(request.query.get("mediaSourceId", item_id or ""))
            if item_id and self._source(item_id)
            else None
        )
        if found is None:
            return answer_text(404)
        source = found[1]
        if source.file is not None:
            return web.FileResponse(source.file, headers={"Content-Type": "video/x-matroska"})
        return _ranged(request, bytes(source.size))

    def _saves_beside_media(self, item: FakeItem) -> bool:
        home = next((library for library in self.libraries if library.id == item.library), None)
        return home is None or bool(home.options.get("SaveSubtitlesWithMedia", True))

    # Lookups

    def _row(self, item_id: str) -> FakeItem | None:
        if (item := self.items.get(item_id)) is not None:
            return item
        return (
            None
            if self.version >= (12, 0, 0)
            else next(
                (
                    item
                    for item in self.items.values()
                    if any(source.id == item_id for source in item.sources)
                ),
                None,
            )
        )

    def _source(self, source_id: str) -> tuple[FakeItem, Source] | None:
        if (
            (item := self.items.get(source_id)) is not None
            and item.sources
            and item.sources[0].id == source_id
        ):
            return item, item.sources[0]
        return next(
            (
                (item, source)
                for item in self.items.values()
                for source in item.sources
                if source.id == source_id
            ),
            None,
        )


def _upload_body(content: bytes) -> dict[str, Any] | web.Response:
    """Return the fields of an upload by lower-case name, or the answer to an invalid body."""
    try:
        body = {name.lower(): value for name, value in json.loads(content).items()}
    except (ValueError, AttributeError):
        return invalid("$", "not JSON")
    missing = [name for name in ("Language", "Format", "Data") if not body.get(name.lower())]
    return invalid(missing[0], "") if missing else body


def _decode(data: str) -> bytes | web.Response:
    """Return the content of an upload, or the answer to data that is not plain base64."""
    if data.startswith("data:"):
        return answer_text(500)
    try:
        return base64.b64decode("".join(data.split()), validate=True)
    except binascii.Error:
        return web.Response(status=204)


def _flags(body: dict[str, Any]) -> str:
    """Return the part of the file name that the flags of an upload give."""
    return (".forced" if body.get("isforced") else "") + (".sdh" if body.get("ishearingimpaired") else "")


def _stream_at(streams: list[dict[str, Any]], index: str) -> dict[str, Any] | None:
    return streams[int(index)] if index.isdigit() and int(index) < len(streams) else None


def _parse_time(text: str) -> datetime:
    match = re.match(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)", text)
    assert match is not None
    return datetime.fromisoformat(match[1]).replace(tzinfo=UTC)


def _ranged(request: web.Request, content: bytes) -> web.Response:
    headers = {"Content-Type": "video/x-matroska", "Accept-Ranges": "bytes"}
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
    if match is None:
        return web.Response(body=content, headers=headers)
    start, end = int(match[1]), min(int(match[2] or len(content) - 1), len(content) - 1)
    if start >= len(content):
        return web.Response(status=416, headers={**headers, "Content-Range": f"bytes */{len(content)}"})
    return web.Response(
        status=206,
        body=content[start : end + 1],
        headers={**headers, "Content-Range": f"bytes {start}-{end}/{len(content)}"},
    )
