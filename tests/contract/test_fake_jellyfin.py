"""The fake server answers as real servers were recorded to answer, and as their OpenAPI documents say."""

import asyncio
import json
import re
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from tests.fakes.jellyfin import KEY, Exchange, FakeItem, FakeJellyfin, Fault, Library, Source, film, new_id
from tests.fakes.jellyfin.admin import User
from tests.fakes.jellyfin.names import B_TO_T
from tests.support.openapi import DOCUMENTS, needs_contract, violations
from tests.support.recordings import difference, recorded_exchanges, shape, shape_difference

VERSIONS = {"10.10.7": "10.10.7", "10.11.11": "10.11.11", "12.0-rc5": "12.0.0"}
"""Version of the fake server by folder of recordings."""

NOT_SERVED = {
    r"GET /UserViews": "needs a user; libraries are read from /Library/VirtualFolders",
    r"\w+ /Items/\w+/PlaybackInfo": "makes the server probe; streams are read from /Items",
    r"\w+ /Items/\w+/(Download|File)": "the static stream is read instead",
    r"GET /Audio/.*": "ignores the requested audio track (notes/jellyfin-server.md J28)",
    r"GET /Videos/\w+/stream\.mkv": "transcodes; the static stream is read instead",
    r"\w+ /Startup/.*": "the setup wizard",
    r"POST /Library/VirtualFolders": "adds a library",
    r"POST /Library/Refresh": "FluxCaption never starts a library scan",
    r"POST /Library/Media/Updated": "the refresh of an item is used instead",
    r"\w+ /Sessions/Playing.*": "sent by players only",
    r"POST /Users/New": "FluxCaption creates no account",
    r"POST /Repositories": "the default repository has the plugin",
    r"GET /Packages": "only the one package is requested",
}
"""Recorded requests on routes that FluxCaption does not use, each with the reason."""

FILES_NOT_SERVED = {"viewer-choices": "viewers' remembered tracks: FluxCaption does not change them"}
"""Recorded files on subjects that FluxCaption does not use, each with the reason."""

_NO_CONVERSION = "the fake converts no format: FluxCaption requests each track in its own"
_NO_VALID_ID = "the root folders; only the missing filter matters (J10)"
_NO_SUBTITLE_FILTER = "never requested: it loads the whole library (J8)"
_NO_LANGUAGE_FILTER = "never requested: only version 12 supports it (J8)"

KNOWN_DIFFERENCES = {
    ("subtitle-fetch", "vtt"): _NO_CONVERSION,
    ("subtitle-fetch", "ass from srt"): _NO_CONVERSION,
    ("subtitle-fetch", "js"): _NO_CONVERSION,
    ("subtitle-fetch", "json"): _NO_CONVERSION,
    ("subtitle-fetch", "ass from ass"): "the recorded text is the one of the embedded track, not of the file",
    ("errors", "item with userId"): "the route of one item has every field; FluxCaption never reads it (J3)",
    ("errors", "bad id in list"): _NO_VALID_ID,
    ("queries", "no valid id in the list"): _NO_VALID_ID,
    ("queries", "empty list"): _NO_VALID_ID,
    ("errors", "hasSubtitles=false"): _NO_SUBTITLE_FILTER,
    ("queries", "hasSubtitles=false"): _NO_SUBTITLE_FILTER,
    ("errors", "subtitleLanguages=deu"): _NO_LANGUAGE_FILTER,
    ("queries", "subtitleLanguages=deu"): _NO_LANGUAGE_FILTER,
}
"""Answers that differ from the recorded ones on every version, each with its reason."""

KNOWN_DIFFERENCES_10_10 = dict.fromkeys(
    [
        ("errors", "minDateLastSaved"),
        ("errors", "minDateLastSavedForUser past"),
        ("errors", "minDateLastSavedForUser future"),
        ("errors", "no total"),
        ("queries", "no sortBy"),
    ],
    "10.10 sorts nothing without sortBy: the first items are arbitrary",
)
"""Answers that differ from the recorded ones on 10.10 only."""

ADDED_BETWEEN_RECORDINGS = (".da.srt", ".fluxcaption.bg.srt")
"""Sidecars uploaded between the recordings."""

ADMIN_ROUTES = (
    ("POST", "/Auth/Keys"),
    ("GET", "/Plugins"),
    ("POST", "/Plugins"),
    ("POST", "/Packages/Installed"),
    ("GET", "/Repositories"),
    ("POST", "/System/Restart"),
    ("GET", "/ScheduledTasks"),
    ("POST", "/ScheduledTasks"),
    ("GET", "/Sessions"),
    ("POST", "/Sessions/Capabilities"),
    ("GET", "/System/ActivityLog"),
    ("GET", "/Users"),
    ("POST", "/Users/Configuration"),
)
"""Routes of the administration, by method and start of the path."""

_MORE_ENTRIES = "the real server has more entries; only the types of their fields are compared"
KNOWN_ADMIN_DIFFERENCES = {
    ("plugin-install", "before"): _MORE_ENTRIES,
    ("plugin-install", "after the installation"): _MORE_ENTRIES,
    ("plugin-install", "after the restart"): _MORE_ENTRIES,
    ("webhook-config", "tasks"): _MORE_ENTRIES,
    ("session-proof", "sessions"): _MORE_ENTRIES,
    ("playback", "while playing"): _MORE_ENTRIES,
    ("playback", "activity log"): _MORE_ENTRIES,
    ("users", "users"): "dates and image of the account differ; only the types of its fields are compared",
}
"""Answers of the administration that agree in shape only, each with its reason."""


@dataclass(frozen=True)
class Mismatch:
    """A recorded exchange that the fake answers in another way."""

    file: str
    note: str
    problem: str

    @property
    def key(self) -> tuple[str, str]:
        return self.file, self.note


def reason_to_skip(exchange: dict[str, Any]) -> str | None:
    if exchange["file"] in FILES_NOT_SERVED:
        return FILES_NOT_SERVED[exchange["file"]]
    name = f"{exchange['request']['method']} {exchange['request']['path']}"
    return next((reason for pattern, reason in NOT_SERVED.items() if re.fullmatch(pattern, name)), None)


def is_admin(exchange: dict[str, Any]) -> bool:
    """Return True for plugins, tasks, users and sessions, which are replayed in a test of their own."""
    return any(
        exchange["request"]["method"] == method and exchange["request"]["path"].startswith(start)
        for method, start in ADMIN_ROUTES
    )


def full_rows(exchanges: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the items that recorded answers have with all fields, by id; the first answer wins."""
    rows: dict[str, dict[str, Any]] = {}
    for exchange in exchanges:
        body = exchange["response"].get("body")
        for row in body.get("Items", []) if isinstance(body, dict) else []:
            if row.get("MediaSources") and "DateCreated" in row:
                rows.setdefault(row["Id"], row)
    return rows


def stored_stream(stream: dict[str, Any], path: str) -> dict[str, Any]:
    """Return an embedded stream as it is in the file.

    A Matroska file has the bibliographic code on every server version (J19).
    """
    stored = {name: part for name, part in stream.items() if name != "Index"}
    if path.endswith(".mkv") and "Language" in stored:
        stored["Language"] = {t: b for b, t in B_TO_T.items()}.get(stored["Language"], stored["Language"])
    return stored


def source_of(source: dict[str, Any], texts: dict[str, bytes], sidecars: dict[str, bytes] | None) -> Source:
    """Return a media source of the fake with the given sidecars, else with the recorded ones."""
    streams = source["MediaStreams"]
    if sidecars is None:
        names = [stream["Path"].rsplit("/", 1)[-1] for stream in streams if stream.get("IsExternal")]
        default = b"1\n00:00:00,000 --> 00:00:00,900\nside 1\n"
        sidecars = {name: texts.get(name, default) for name in names}
    return Source(
        source["Id"],
        source["Path"],
        [stored_stream(stream, source["Path"]) for stream in streams if not stream.get("IsExternal")],
        size=source["Size"],
        ticks=source["RunTimeTicks"],
        sidecars=sidecars,
        extra={name: part for name, part in source.items() if name not in {"MediaStreams", "Id", "Path"}},
    )


def item_of(row: dict[str, Any], library: str, sources: list[Source]) -> FakeItem:
    computed = {"MediaSources", "MediaStreams", "Id", "Etag", "Path", "Name", "Type", "HasSubtitles"}
    return FakeItem(
        row["Id"],
        library,
        row["Type"],
        row["Name"],
        sources,
        datetime.fromisoformat(row["DateCreated"][:26].rstrip("Z") + "+00:00"),
        datetime(2026, 11, 22, tzinfo=UTC),
        extra={name: part for name, part in row.items() if name not in computed},
    )


def request_headers(exchange: dict[str, Any]) -> dict[str, str]:
    """Return the recorded headers with the fake's key, without those of the connection."""
    return {
        name: str(value).replace("<key>", KEY)
        for name, value in exchange["request"]["headers"].items()
        if name.lower() not in {"host", "content-length", "accept-encoding", "connection"}
    }


def request_query(exchange: dict[str, Any]) -> dict[str, str]:
    query = exchange["request"].get("query") or {}
    return {name: str(value).replace("<key>", KEY) for name, value in query.items()}


def request_body(exchange: dict[str, Any]) -> str | None:
    body: Any = exchange["request"].get("body")
    if body is None:
        raw: str | None = exchange["request"].get("raw")
        return raw
    if isinstance(body, dict) and set(body) == {"raw"}:
        return str(body["raw"])
    return body if isinstance(body, str) else json.dumps(body)


def recorded_media_type(exchange: dict[str, Any]) -> str:
    return (exchange["response"]["headers"].get("Content-Type") or "").split(";")[0]


class Replay:
    """One fake server in the states in which a real server was recorded.

    Attributes:
        equal_count: Number of equal answers.
        mismatches: Exchanges that the fake answers in another way.
        skipped: Number of exchanges that are not sent, by reason.
    """

    def __init__(self, folder: str, fake: FakeJellyfin) -> None:
        self.fake = fake
        self.exchanges = recorded_exchanges(folder)
        self.equal_count = 0
        self.mismatches: list[Mismatch] = []
        self.skipped: Counter[str] = Counter()
        folders = next(e["response"]["body"] for e in self.exchanges if e["note"] == "libraries")
        fake.folders = folders
        fake.libraries = [
            Library(row["ItemId"], row["Name"], row.get("CollectionType", ""), folder=row["Locations"][0])
            for row in folders
        ]
        fake.admin_tokens.add("<user token>")
        fake.viewer_tokens.add("<viewer token>")
        self._add(full_rows([e for e in self.exchanges if e["file"] == "items"]))
        self._set_embedded_text()

    def _add(self, rows: dict[str, dict[str, Any]]) -> None:
        srt = next(e["response"]["body"] for e in self.exchanges if e["note"] == "srt")
        texts = {"Clash.extended.de.srt": srt.encode()}
        for row in rows.values():
            # Several items can refer to one media source; its sidecars are shared.
            sidecars = {
                source.id: source.sidecars for item in self.fake.items.values() for source in item.sources
            }
            sources = [source_of(source, texts, sidecars.get(source["Id"])) for source in row["MediaSources"]]
            self.fake.add(item_of(row, self._library_of(row), sources))

    def _library_of(self, row: dict[str, Any]) -> str:
        """Return the library of an item; empty for a second version or part, which is in none (J8)."""
        if "PrimaryVersionId" not in row and row["Type"] == "Video" and "/movies/" in row["Path"]:
            return ""
        path = str(row["MediaSources"][0]["Path"])
        return next((library.id for library in self.fake.libraries if path.startswith(library.folder)), "")

    def _set_embedded_text(self) -> None:
        fetched = [
            e for e in self.exchanges if e["file"] == "stale-cache" and e["note"].startswith("embedded")
        ]
        for ordinal, exchange in enumerate(fetched):
            item_id = exchange["request"]["path"].split("/")[2]
            self.fake.embedded[(item_id, ordinal)] = exchange["response"]["body"].encode()

    def prepare(self, exchange: dict[str, Any]) -> None:
        """Apply the changes that were made on the real server between two requests."""
        note, fake = exchange["note"], self.fake
        if note.startswith("read-only folder"):
            source = fake.items[exchange["request"]["path"].split("/")[2]].sources[0]
            fake.read_only.add(source.id)
            movies = next(library for library in fake.libraries if library.kind == "movies")
            movies.options["SaveSubtitlesWithMedia"] = note.endswith("on")
        elif note == "name with dots":
            for library in fake.libraries:
                library.options.clear()
        elif note.startswith("selection, mode"):
            user = exchange["request"]["query"]["userId"]
            fake.accounts[user] = User("viewer", user, mode=note.rsplit(" ", 1)[-1], languages="eng")
        elif note == "recommended, first page":
            self._grow(exchange["request"]["query"]["parentId"])

    def _grow(self, library: str) -> None:
        """Add the items that the library got before the recorded queries.

        Some are recorded with all fields, some by name; of the others only the number is recorded.
        """
        queries = [e for e in self.exchanges if e["file"] == "queries"]
        rows = full_rows(queries)
        self._add({key: row for key, row in rows.items() if key not in self.fake.items})
        for key, row in rows.items():
            names = [
                stream["Path"].rsplit("/", 1)[-1]
                for stream in row["MediaSources"][0]["MediaStreams"]
                if stream.get("IsExternal")
            ]
            self.fake.items[key].sources[0].sidecars |= {
                name: b"a line" for name in names if name.endswith(ADDED_BETWEEN_RECORDINGS)
            }
        named = [row for e in queries if e["note"] == "no sortBy" for row in e["response"]["body"]["Items"]]
        added = list({row["Id"]: row for row in named if row["Id"] not in self.fake.items}.values())
        total = next(
            e["response"]["body"]["TotalRecordCount"] for e in queries if e["note"] == "with a total count"
        )
        present = sum(item.library == library for item in self.fake.items.values())
        added += [
            {"Id": new_id(f"one more {number}"), "Name": f"zz {number:03}", "Type": "Movie"}
            for number in range(total - present - len(added))
        ]
        for number, row in enumerate(added):
            extra = {name: part for name, part in row.items() if name not in {"Id", "Name", "Type", "Etag"}}
            self.fake.add(
                FakeItem(
                    row["Id"],
                    library,
                    row["Type"],
                    row["Name"],
                    [],
                    datetime(2027, 1, 1, tzinfo=UTC) + timedelta(hours=number),
                    datetime(2026, 11, 22, tzinfo=UTC),
                    extra=extra,
                )
            )

    async def send(self, session: aiohttp.ClientSession, exchange: dict[str, Any]) -> None:
        async with session.request(
            exchange["request"]["method"],
            self.fake.url + exchange["request"]["path"],
            params=request_query(exchange),
            headers=request_headers(exchange),
            data=request_body(exchange),
            allow_redirects=False,
        ) as answer:
            content = await answer.read()
        problem = self._problem(exchange, answer, content)
        if problem is None:
            self.equal_count += 1
        else:
            self.mismatches.append(Mismatch(exchange["file"], exchange["note"], problem))

    @staticmethod
    def _problem(exchange: dict[str, Any], answer: aiohttp.ClientResponse, content: bytes) -> str | None:
        real, media_type = exchange["response"], recorded_media_type(exchange)
        if answer.status != real["status"]:
            return f"status {real['status']}, the fake {answer.status}"
        if media_type and media_type != answer.content_type and real.get("body"):
            return f"{media_type}, the fake {answer.content_type}"
        if isinstance(real["body"], str) and (size := re.fullmatch(r"<(\d+) bytes>", real["body"])):
            return None if len(content) == int(size[1]) else f"{size[1]} bytes, the fake {len(content)}"
        if isinstance(real["body"], str) and media_type != "application/json":
            # The byte order mark before a converted text is ignored (J24).
            return difference(real["body"].lstrip("\ufeff"), content.decode())
        if media_type == "application/json":
            return difference(real["body"], json.loads(content))
        return None


@needs_contract
@pytest.mark.parametrize("folder", VERSIONS)
async def test_recorded_exchanges_are_answered_as_by_the_real_server(folder: str) -> None:
    async with FakeJellyfin(VERSIONS[folder]) as fake, aiohttp.ClientSession() as session:
        replay = Replay(folder, fake)
        admin_count = 0
        for exchange in replay.exchanges:
            reason = reason_to_skip(exchange)
            if reason is not None:
                replay.skipped[reason] += 1
            elif is_admin(exchange):
                admin_count += 1
            else:
                replay.prepare(exchange)
                await replay.send(session, exchange)
    reasons = KNOWN_DIFFERENCES | (KNOWN_DIFFERENCES_10_10 if folder == "10.10.7" else {})
    sent_count = replay.equal_count + len(replay.mismatches)
    assert len(replay.exchanges) == sent_count + admin_count + replay.skipped.total()
    print(
        f"{folder}: {len(replay.exchanges)} recorded, {sent_count} replayed, {replay.equal_count} equal,"
        f" {len(replay.mismatches)} different:"
    )
    print_mismatches(replay.mismatches, reasons)
    print("  not sent:", *(f"\n    {count} x {reason}" for reason, count in replay.skipped.items()))
    assert [mismatch for mismatch in replay.mismatches if mismatch.key not in reasons] == []


def print_mismatches(mismatches: list[Mismatch], reasons: dict[tuple[str, str], str]) -> None:
    for mismatch in mismatches:
        reason = reasons.get(mismatch.key, "NO REASON")
        print(f"  {mismatch.file}, {mismatch.note}: {mismatch.problem} ({reason})")


# Administration


def prepare_admin(fake: FakeJellyfin, exchange: dict[str, Any], watched: FakeItem) -> None:
    """Apply the changes that were made on the real server before a request of the administration."""
    path, status = exchange["request"]["path"], exchange["response"]["status"]
    user = request_query(exchange).get("userId")
    if path.startswith("/Packages/Installed"):
        fake.plugin_versions = [] if status == 404 else ["21.0.0.0"]
        if status == 500:
            fake.break_next("POST /Packages", Fault(status=500))
    if user and user not in fake.accounts:
        fake.accounts[user] = User("root", user, is_admin=True)
    if path.startswith("/Users/Configuration") and user:
        fake.accounts[user].may_be_changed = status == 204
    if path == "/Users" and not fake.accounts:
        fake.accounts["1" * 32] = User("root", "1" * 32, is_admin=True)
    if path == "/Sessions" and exchange["file"] == "playback":
        fake.start_playback(watched)
    if path.startswith("/System/ActivityLog"):
        for row in fake.activity:
            row["Date"] = "2099-01-01T00:00:00.0000000Z"


async def send_admin(session: aiohttp.ClientSession, url: str, exchange: dict[str, Any]) -> Mismatch | None:
    """Send a recorded request of the administration. Return the difference; its shape has to agree."""
    real, body = exchange["response"], exchange["request"].get("body")
    headers = {
        name: value
        for name, value in request_headers(exchange).items()
        if name.lower() in {"authorization", "content-type", "accept"}
    }
    async with session.request(
        exchange["request"]["method"],
        url + exchange["request"]["path"],
        params=request_query(exchange),
        headers=headers,
        data=None if body is None else json.dumps(body),
    ) as answer:
        content = await answer.read()
    problem = None
    if answer.status != real["status"]:
        problem = f"status {real['status']}, the fake {answer.status}"
    elif recorded_media_type(exchange) == "application/json" and real.get("body"):
        problem = difference(real["body"], json.loads(content))
        if problem is not None:
            assert shape_difference(shape(real["body"]), shape(json.loads(content))) is None
    return None if problem is None else Mismatch(exchange["file"], exchange["note"], problem)


@needs_contract
@pytest.mark.parametrize("folder", VERSIONS)
async def test_recorded_admin_exchanges_are_answered_as_by_the_real_server(folder: str) -> None:
    mismatches: list[Mismatch] = []
    exchanges = [
        exchange
        for exchange in recorded_exchanges(folder)
        if is_admin(exchange) and reason_to_skip(exchange) is None
    ]
    async with FakeJellyfin(VERSIONS[folder]) as fake, aiohttp.ClientSession() as session:
        fake.admin_tokens.add("<user token>")
        fake.viewer_tokens.add("<viewer token>")
        watched = film("Plain Movie (2020)", [], library=fake.libraries[0].id)
        fake.add(watched)
        for exchange in exchanges:
            prepare_admin(fake, exchange, watched)
            mismatch = await send_admin(session, fake.url, exchange)
            if mismatch is not None:
                mismatches.append(mismatch)
            while fake.is_starting:
                await asyncio.sleep(0.05)
    assert len(exchanges) >= 25
    print(f"{folder}: {len(exchanges)} of the administration, {len(mismatches)} different:")
    print_mismatches(mismatches, KNOWN_ADMIN_DIFFERENCES)
    assert [mismatch for mismatch in mismatches if mismatch.key not in KNOWN_ADMIN_DIFFERENCES] == []


# OpenAPI documents


GET_ITEMS = Exchange(
    "GET",
    "/Items",
    {"ids": "0" * 32},
    {},
    b"",
    200,
    "application/json",
    b'{"Items":[],"TotalRecordCount":0,"StartIndex":0}',
    "/Items",
    "10.11.11",
)
UPLOAD = Exchange(
    "POST",
    f"/Videos/{'0' * 32}/Subtitles",
    {},
    {"Content-Type": "application/json"},
    b'{"Language":"de","Format":"srt","IsForced":false,"IsHearingImpaired":false,"Data":"eA=="}',
    204,
    "",
    b"",
    "/Videos/{itemId}/Subtitles",
    "10.11.11",
)


@needs_contract
@pytest.mark.parametrize("version", DOCUMENTS)
@pytest.mark.parametrize(
    ("exchange", "problem"),
    [
        (GET_ITEMS, None),
        (UPLOAD, None),
        (
            replace(GET_ITEMS, answer=b'{"Items":[{"Id":"not-a-uuid"}],"TotalRecordCount":1,"StartIndex":0}'),
            "not a 'uuid'",
        ),
        (replace(GET_ITEMS, query={"limit": "abc"}), "not of type 'integer'"),
        (replace(GET_ITEMS, query={"sortBy": "Sideways"}), "is not one of"),
        (
            replace(GET_ITEMS, query={"nonsense": "1"}, status=400, content_type="text/plain", answer=b"x"),
            "unknown query",
        ),
        (replace(GET_ITEMS, content_type="text/plain", answer=b"page"), "answer of text/plain"),
        (replace(GET_ITEMS, content_type="", answer=b""), "answer of nothing"),
        (replace(GET_ITEMS, status=404), "not in the document"),
        (replace(GET_ITEMS, status=500, content_type="text/html"), "answer of text/html"),
        (replace(GET_ITEMS, path="/Elsewhere", route="/Elsewhere"), "not in the document"),
        (replace(UPLOAD, body=b""), "body is required"),
        (replace(UPLOAD, body=b'{"Language":"de","Format":"srt"}'), "required property"),
        (replace(UPLOAD, body=UPLOAD.body.replace(b"false", b'"no"')), "not of type 'boolean'"),
        (replace(UPLOAD, headers={"Content-Type": "text/plain"}), "body of text/plain"),
        (replace(UPLOAD, path="/Videos/xyz/Subtitles"), "not a 'uuid'"),
        (replace(UPLOAD, broken="hung up", status=499, body=b""), "body is required"),
    ],
)
def test_an_exchange_against_the_document_is_reported(
    version: str, exchange: Exchange, problem: str | None
) -> None:
    found = violations(exchange, version)
    assert (found == []) if problem is None else any(problem in line for line in found), found
