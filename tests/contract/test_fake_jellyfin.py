"""The fake answers as three real servers were recorded to answer."""

import asyncio
import json
import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import pytest

from tests.fakes.jellyfin import KEY, Exchange, FakeItem, FakeJellyfin, Fault, Library, Source, film, new_id
from tests.fakes.jellyfin.admin import User
from tests.fakes.jellyfin.library import SERVER_ID
from tests.fakes.jellyfin.names import B_TO_T
from tests.support.openapi import CONTRACT, DOCUMENTS, needs_contract, violations

VERSIONS = {"10.10.7": "10.10.7", "10.11.11": "10.11.11", "12.0-rc5": "12.0.0"}

NOT_SERVED = {
    r"GET /UserViews": "needs a user; libraries are read from /Library/VirtualFolders",
    r"\w+ /Items/\w+/PlaybackInfo": "makes the server probe; streams are read from /Items",
    r"\w+ /Items/\w+/(Download|File)": "the static stream is read instead",
    r"GET /Audio/.*": "ignores which sound is asked for (notes/jellyfin-server.md J28)",
    r"GET /Videos/\w+/stream\.mkv": "transcodes; the static stream is read instead",
    r"\w+ /Startup/.*": "the wizard",
    r"POST /Library/VirtualFolders": "adds a library",
    r"POST /Library/Refresh": "a library scan is never started by us",
    r"POST /Library/Media/Updated": "an item's own refresh is used",
    r"\w+ /Sessions/Playing.*": "what a player sends",
    r"POST /Users/New": "accounts are the owner's",
    r"POST /Repositories": "the default repository has the plugin",
    r"GET /Packages": "the one package is asked for",
}
"""Recorded requests on routes that FluxCaption does not use, each with the reason."""

FILES_NOT_SERVED = {"viewer-choices": "viewers' remembered tracks: FluxCaption does not change them"}
"""Recorded files on subjects that FluxCaption does not use, each with the reason."""

DIFFERENT = {
    ("subtitle-fetch", "vtt"): "the fake turns no format into another: each track is asked for in its own",
    ("subtitle-fetch", "ass from srt"): "the same",
    ("subtitle-fetch", "js"): "the same",
    ("subtitle-fetch", "json"): "the same",
    ("subtitle-fetch", "ass from ass"): "the same: the text of the film stands for the file",
    ("errors", "item with userId"): "one item by its own route has every field; it is never read so (J3)",
    ("errors", "bad id in list"): "the root folders; only that nobody asked for them matters (J10)",
    ("queries", "no valid id in the list"): "the same",
    ("queries", "empty list"): "the same",
    ("errors", "hasSubtitles=false"): "never asked: it loads the whole library (J8)",
    ("queries", "hasSubtitles=false"): "the same",
    ("errors", "subtitleLanguages=deu"): "never asked: 12 alone knows it (J8)",
    ("queries", "subtitleLanguages=deu"): "the same",
}
PUT_THERE_UNRECORDED = (".da.srt", ".fluxcaption.bg.srt")
"""Uploaded between the recordings, while sockets were listened to and scans ran."""

WITHOUT_ORDER = "10.10 has no order of its own: what comes first is chance (3.3)"
for_10_10 = {
    ("errors", note): WITHOUT_ORDER
    for note in (
        "minDateLastSaved",
        "minDateLastSavedForUser past",
        "minDateLastSavedForUser future",
        "no total",
    )
}
for_10_10["queries", "no sortBy"] = WITHOUT_ORDER
"""Answers that are not the recorded ones, each with its reason."""

OF_THE_MOMENT = frozenset(
    {
        "Etag",
        "traceId",
        "ServerName",
        "LocalAddress",
        "errors",
        "type",
        "ImageTags",
        "WebPath",
        "ProgramDataPath",
        "ItemsByNamePath",
        "CachePath",
        "LogPath",
    }
    | {"InternalMetadataPath", "TranscodingTempPath", "WebSocketPortNumber"}
)
"""Told anew by each server, or for each answer: only whether it is there is compared."""

OF_A_VIEWER = frozenset({"UserData", "Score"})
"""What a viewer has seen and how a track was weighed: never read."""

FOR_PEOPLE = re.compile(
    r"DisplayTitle|Localized\w+|TimeBase|Level|IsAVC|Height|Width|BitRate|Channels|ChannelLayout|SampleRate|Profile"
)
"""Fields of an external track that the fake leaves out, as FluxCaption does not read them."""


def chronicle(folder: str) -> list[dict[str, Any]]:
    """All recorded exchanges in the order in which they happened."""
    files = []
    recorded = CONTRACT / "recorded" / folder
    server_id = json.loads((recorded / "auth.jsonl").read_text(encoding="utf-8").splitlines()[0])["response"][
        "body"
    ]["Id"]
    for file in sorted(recorded.glob("*.jsonl")):
        lines = file.read_text(encoding="utf-8").replace(server_id, SERVER_ID).splitlines()
        exchanges = [{**json.loads(line), "file": file.stem} for line in lines]
        files.append((parsedate_to_datetime(exchanges[0]["response"]["headers"]["Date"]), exchanges))
    return [exchange for _, exchanges in sorted(files, key=lambda told: told[0]) for exchange in exchanges]


def reason_to_skip(exchange: dict[str, Any]) -> str | None:
    if exchange["file"] in FILES_NOT_SERVED:
        return FILES_NOT_SERVED[exchange["file"]]
    name = f"{exchange['request']['method']} {exchange['request']['path']}"
    return next((reason for pattern, reason in NOT_SERVED.items() if re.fullmatch(pattern, name)), None)


def is_about_the_house(exchange: dict[str, Any]) -> bool:
    """Plugins, tasks, users and sessions: replayed by themselves below."""
    return any(
        exchange["request"]["method"] == method and exchange["request"]["path"].startswith(start)
        for method, start in ADMIN_ROUTES
    )


def rows_in(exchanges: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Items as the recorded answers tell of them in full, the first telling first."""
    known: dict[str, dict[str, Any]] = {}
    for exchange in exchanges:
        body = exchange["response"].get("body")
        for row in body.get("Items", []) if isinstance(body, dict) else []:
            if row.get("MediaSources") and "DateCreated" in row:
                known.setdefault(row["Id"], row)
    return known


def as_stored(stream: dict[str, Any], path: str) -> dict[str, Any]:
    """An embedded stream as it is in the file: a Matroska file holds the bibliographic code, whatever a server makes of it (J19)."""
    stored = {name: part for name, part in stream.items() if name != "Index"}
    if path.endswith(".mkv") and "Language" in stored:
        stored["Language"] = {t: b for b, t in B_TO_T.items()}.get(stored["Language"], stored["Language"])
    return stored


def as_item(
    row: dict[str, Any], library: str, texts: dict[str, bytes], known: dict[str, dict[str, bytes]]
) -> FakeItem:
    sources = [
        Source(
            source["Id"],
            source["Path"],
            [
                as_stored(stream, source["Path"])
                for stream in source["MediaStreams"]
                if not stream.get("IsExternal")
            ],
            size=source["Size"],
            ticks=source["RunTimeTicks"],
            sidecars=known[source["Id"]]
            if source["Id"] in known
            else {
                (name := stream["Path"].rsplit("/", 1)[-1]): texts.get(
                    name, b"1\n00:00:00,000 --> 00:00:00,900\nside 1\n"
                )
                for stream in source["MediaStreams"]
                if stream.get("IsExternal")
            },
            extra={name: part for name, part in source.items() if name not in {"MediaStreams", "Id", "Path"}},
        )
        for source in row["MediaSources"]
    ]
    left_out = {"MediaSources", "MediaStreams", "Id", "Etag", "Path", "Name", "Type", "HasSubtitles"}
    extra = {name: part for name, part in row.items() if name not in left_out}
    added = datetime.fromisoformat(row["DateCreated"][:26].rstrip("Z") + "+00:00")
    return FakeItem(
        row["Id"],
        library,
        row["Type"],
        row["Name"],
        sources,
        added,
        datetime(2026, 11, 22, tzinfo=UTC),
        extra=extra,
    )


class Replay:
    """One fake that lives through what a real server was recorded to live through."""

    def __init__(self, folder: str, fake: FakeJellyfin) -> None:
        self.fake = fake
        self.exchanges = chronicle(folder)
        self.alike = 0
        self.different: list[tuple[str, str, str]] = []
        self.skipped: Counter[str] = Counter()
        folders = next(e["response"]["body"] for e in self.exchanges if e["note"] == "libraries")
        fake.folders = folders
        fake.libraries = [
            Library(row["ItemId"], row["Name"], row.get("CollectionType", ""), folder=row["Locations"][0])
            for row in folders
        ]
        fake.users.add("<user token>")
        fake.viewers.add("<viewer token>")
        self._add(rows_in([e for e in self.exchanges if e["file"] == "items"]))
        self._tell_embedded_text()

    def _add(self, rows: dict[str, dict[str, Any]]) -> None:
        texts = {
            "Clash.extended.de.srt": next(
                e["response"]["body"] for e in self.exchanges if e["note"] == "srt"
            ).encode()
        }
        for row in rows.values():
            home = next(
                (
                    library.id
                    for library in self.fake.libraries
                    if str(row["MediaSources"][0]["Path"]).startswith(library.folder)
                ),
                "",
            )
            if "PrimaryVersionId" not in row and row["Type"] == "Video" and "/movies/" in row["Path"]:
                home = ""  # a second version or part: below no library (J8)
            # A version has its files, whichever item tells of it.
            known = {
                source.id: source.sidecars for item in self.fake.items.values() for source in item.sources
            }
            self.fake.add(as_item(row, home, texts, known))

    def _tell_embedded_text(self) -> None:
        fetched = [
            e for e in self.exchanges if e["file"] == "stale-cache" and e["note"].startswith("embedded")
        ]
        for ordinal, exchange in enumerate(fetched):
            item_id = exchange["request"]["path"].split("/")[2]
            self.fake.embedded[(item_id, ordinal)] = exchange["response"]["body"].encode()

    def stage(self, exchange: dict[str, Any]) -> None:
        """What was done to the real server between two requests, and by no request."""
        note, fake = exchange["note"], self.fake
        if note.startswith("read-only folder"):
            source = fake.items[exchange["request"]["path"].split("/")[2]].sources[0]
            fake.read_only.add(source.id)
            fake.libraries[[library.kind for library in fake.libraries].index("movies")].options[
                "SaveSubtitlesWithMedia"
            ] = note.endswith("on")
        elif note == "name with dots":
            for library in fake.libraries:
                library.options.clear()
        elif note.startswith("selection, mode"):
            user = exchange["request"]["query"]["userId"]
            fake.people[user] = User("viewer", user, mode=note.rsplit(" ", 1)[-1], languages="eng")
        elif note == "recommended, first page":
            self._grow(exchange["request"]["query"]["parentId"])

    def _grow(self, library: str) -> None:
        """The library had grown before it was queried: what the answers tell of it in full, by name, and in number."""
        later = [e for e in self.exchanges if e["file"] == "queries"]
        rows = rows_in(later)
        self._add({key: row for key, row in rows.items() if key not in self.fake.items})
        for key, row in rows.items():
            names = [
                stream["Path"].rsplit("/", 1)[-1]
                for stream in row["MediaSources"][0]["MediaStreams"]
                if stream.get("IsExternal")
            ]
            self.fake.items[key].sources[0].sidecars |= {
                name: b"a line" for name in names if name.endswith(PUT_THERE_UNRECORDED)
            }
        total = next(
            e["response"]["body"]["TotalRecordCount"] for e in later if e["note"] == "with a total count"
        )
        named = {
            row["Id"]: row
            for e in later
            if e["note"] == "no sortBy"
            for row in e["response"]["body"]["Items"]
        }
        here = [item for item in self.fake.items.values() if item.library == library]
        more = [row for key, row in named.items() if key not in self.fake.items]
        more += [
            {"Id": new_id(f"one more {number}"), "Name": f"zz {number:03}", "Type": "Movie"}
            for number in range(total - len(here) - len(more))
        ]
        for number, row in enumerate(more):
            added = datetime(2027, 1, 1, tzinfo=UTC) + timedelta(hours=number)
            extra = {name: part for name, part in row.items() if name not in {"Id", "Name", "Type", "Etag"}}
            self.fake.add(
                FakeItem(
                    row["Id"],
                    library,
                    row["Type"],
                    row["Name"],
                    [],
                    added,
                    datetime(2026, 11, 22, tzinfo=UTC),
                    extra=extra,
                )
            )

    async def send(self, session: aiohttp.ClientSession, exchange: dict[str, Any]) -> None:
        request, real = exchange["request"], exchange["response"]
        headers = {
            name: str(value).replace("<key>", KEY)
            for name, value in request["headers"].items()
            if name.lower() not in {"host", "content-length", "accept-encoding", "connection"}
        }
        query = {
            name: str(value).replace("<key>", KEY) for name, value in (request.get("query") or {}).items()
        }
        body, data = request.get("body"), request.get("raw")
        if body is not None:
            data = (
                body
                if isinstance(body, str)
                else body["raw"]
                if isinstance(body, dict) and set(body) == {"raw"}
                else json.dumps(body)
            )
        async with session.request(
            request["method"],
            self.fake.url + request["path"],
            params=query,
            headers=headers,
            data=data,
            allow_redirects=False,
        ) as answer:
            content = await answer.read()
        media = (real["headers"].get("Content-Type") or "").split(";")[0]
        problem = None
        if answer.status != real["status"]:
            problem = f"status {real['status']}, the fake {answer.status}"
        elif media and media != answer.content_type and real.get("body"):
            problem = f"{media}, the fake {answer.content_type}"
        elif isinstance(real["body"], str) and (size := re.fullmatch(r"<(\d+) bytes>", real["body"])):
            problem = None if len(content) == int(size[1]) else f"{size[1]} bytes, the fake {len(content)}"
        elif isinstance(real["body"], str) and media != "application/json":
            # A byte order mark before what was converted says nothing (J24).
            problem = differs(real["body"].lstrip("\ufeff"), content.decode())
        elif media == "application/json":
            problem = differs(real["body"], json.loads(content))
        if problem is None:
            self.alike += 1
        else:
            self.different.append((exchange["file"], exchange["note"], problem))


def differs(real: Any, fake: Any, path: str = "") -> str | None:
    """The first place where two answers say different things."""
    if isinstance(real, dict) and isinstance(fake, dict):
        is_external = bool(real.get("IsExternal")) and "Index" in real
        for name in sorted(set(real) | set(fake)):
            if name in OF_A_VIEWER or (is_external and FOR_PEOPLE.fullmatch(name)):
                continue
            if (name in real) != (name in fake):
                return f"{path}.{name}: only {'the server' if name in real else 'the fake'} has it"
            if name == "DateCreated" and real[name][:23] == fake[name][:23]:
                continue
            if name not in OF_THE_MOMENT and (found := differs(real[name], fake[name], f"{path}.{name}")):
                return found
        return None
    if isinstance(real, list) and isinstance(fake, list):
        if len(real) != len(fake):
            return f"{path}: {len(real)} against {len(fake)}"
        return next(
            (
                found
                for number, pair in enumerate(zip(real, fake, strict=True))
                if (found := differs(*pair, f"{path}[{number}]"))
            ),
            None,
        )
    return None if real == fake else f"{path}: {real!r} against {fake!r}"


@needs_contract
@pytest.mark.parametrize("folder", VERSIONS)
async def test_every_recorded_exchange_in_use_is_answered_alike(folder: str) -> None:
    async with FakeJellyfin(VERSIONS[folder]) as fake, aiohttp.ClientSession() as session:
        replay = Replay(folder, fake)
        for exchange in replay.exchanges:
            reason = reason_to_skip(exchange)
            if reason is not None:
                replay.skipped[reason] += 1
            elif not is_about_the_house(exchange):
                replay.stage(exchange)
                await replay.send(session, exchange)
    reasons = DIFFERENT | (for_10_10 if folder == "10.10.7" else {})
    replayed = replay.alike + len(replay.different)
    app = [
        exchange
        for exchange in replay.exchanges
        if is_about_the_house(exchange) and reason_to_skip(exchange) is None
    ]
    assert len(replay.exchanges) == replayed + len(app) + replay.skipped.total()
    print(
        f"{folder}: {len(replay.exchanges)} recorded, {replayed} replayed, {replay.alike} answered alike, {len(replay.different)} not:"
    )
    for file, note, problem in replay.different:
        print(f"  {file}, {note}: {problem} ({reasons.get((file, note), 'NO REASON')})")
    print("  not sent:", *(f"\n    {count} x {reason}" for reason, count in replay.skipped.items()))
    assert [told for told in replay.different if told[:2] not in reasons] == []


ADMIN_ROUTES = (
    ("POST", "/Auth/Keys"), ("GET", "/Plugins"), ("POST", "/Plugins"), ("POST", "/Packages/Installed"), ("GET", "/Repositories"), ("POST", "/System/Restart"),
    ("GET", "/ScheduledTasks"), ("POST", "/ScheduledTasks"), ("GET", "/Sessions"), ("POST", "/Sessions/Capabilities"), ("GET", "/System/ActivityLog"),
    ("GET", "/Users"), ("POST", "/Users/Configuration"),
)  # fmt: skip

OTHERS_TOO = "the real house has more in it; each member's fields are compared by their kind"
HOUSE_DIFFERENT = {
    ("plugin-install", "before"): OTHERS_TOO,
    ("plugin-install", "after the installation"): OTHERS_TOO,
    ("plugin-install", "after the restart"): OTHERS_TOO,
    ("webhook-config", "tasks"): OTHERS_TOO,
    ("session-proof", "sessions"): OTHERS_TOO,
    ("playback", "while playing"): OTHERS_TOO,
    ("playback", "activity log"): OTHERS_TOO,
    ("users", "users"): "the account's dates and image are its own; its fields are compared by their kind",
}
"""Answers that are alike in shape only, each with its reason."""


def shape(value: Any) -> Any:
    """Types by key; members of a list are one shape, with keys that not all have marked as such."""
    if isinstance(value, dict):
        return {name: shape(part) for name, part in value.items()}
    if isinstance(value, list):
        merged: dict[str, Any] = {}
        if value and all(isinstance(part, dict) for part in value):
            for part in value:
                merged |= shape(part)
            return [merged]
        return ["?"] if not value else sorted({str(shape(part)) for part in value})
    return (
        "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value).__name__
    )


def differs_in_shape(real: Any, fake: Any, path: str = "") -> str | None:
    """The first place where two shapes say different things; a key only one of them has counts where the answer is one object."""
    if isinstance(real, dict) and isinstance(fake, dict):
        for name in sorted(set(real) & set(fake)):
            if name not in ("traceId", "errors") and (
                found := differs_in_shape(real[name], fake[name], f"{path}.{name}")
            ):
                return found
        unknown = set(fake) - set(real)
        return f"{path}: only the fake has {sorted(unknown)}" if unknown and "[]" not in path else None
    if isinstance(real, list) and isinstance(fake, list):
        if real and fake and isinstance(real[0], dict) and isinstance(fake[0], dict):
            return differs_in_shape(real[0], fake[0], f"{path}[]")
        return None
    return None if real == fake or "NoneType" in (real, fake) else f"{path}: {real} against {fake}"


@needs_contract
@pytest.mark.parametrize("folder", VERSIONS)
async def test_every_recorded_exchange_about_plugins_tasks_users_and_sessions_is_answered_alike(
    folder: str,
) -> None:
    different: list[tuple[str, str, str]] = []
    exchanges = [
        exchange
        for exchange in chronicle(folder)
        if is_about_the_house(exchange) and reason_to_skip(exchange) is None
    ]
    async with FakeJellyfin(VERSIONS[folder]) as fake, aiohttp.ClientSession() as session:
        fake.users.add("<user token>")
        fake.viewers.add("<viewer token>")
        watched = film("Plain Movie (2020)", [], library=fake.libraries[0].id)
        fake.add(watched)
        for exchange in exchanges:
            request, real = exchange["request"], exchange["response"]
            path = request["path"]
            if path.startswith("/Packages/Installed"):
                fake.offered = [] if real["status"] == 404 else ["21.0.0.0"]
                if real["status"] == 500:
                    fake.break_next("POST /Packages", Fault(status=500))
            if (user := (request.get("query") or {}).get("userId")) and user not in fake.people:
                fake.people[user] = User("root", user, is_admin=True)
            if path.startswith("/Users/Configuration") and user:
                fake.people[user].may_be_changed = real["status"] == 204
            if path == "/Users" and not fake.people:
                fake.people["1" * 32] = User("root", "1" * 32, is_admin=True)
            if path == "/Sessions" and exchange["file"] == "playback":
                fake.somebody_plays(watched)
            if path.startswith("/System/ActivityLog"):
                for row in fake.activity:
                    row["Date"] = "2099-01-01T00:00:00.0000000Z"
            headers = {
                name: str(value).replace("<key>", KEY)
                for name, value in request["headers"].items()
                if name.lower() in {"authorization", "content-type", "accept"}
            }
            data = None if request.get("body") is None else json.dumps(request["body"])
            query = {name: str(value) for name, value in (request.get("query") or {}).items()}
            async with session.request(
                request["method"], fake.url + path, params=query, headers=headers, data=data
            ) as answer:
                content = await answer.read()
                media = (real["headers"].get("Content-Type") or "").split(";")[0]
                if answer.status != real["status"]:
                    different.append(
                        (
                            exchange["file"],
                            exchange["note"],
                            f"status {real['status']}, the fake {answer.status}",
                        )
                    )
                elif (
                    media == "application/json"
                    and real.get("body")
                    and (place := differs(real["body"], json.loads(content)))
                ):
                    different.append((exchange["file"], exchange["note"], place))
                    assert differs_in_shape(shape(real["body"]), shape(json.loads(content))) is None
            if path == "/System/Restart":
                while fake.is_starting:
                    await asyncio.sleep(0.05)
    assert len(exchanges) >= 25
    print(
        f"{folder}: {len(exchanges)} about plugins, tasks, users and sessions, {len(exchanges) - len(different)} answered alike, {len(different)} not:"
    )
    for file, note, problem in different:
        print(f"  {file}, {note}: {problem} ({HOUSE_DIFFERENT.get((file, note), 'NO REASON')})")
    assert [told for told in different if told[:2] not in HOUSE_DIFFERENT] == []


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
def test_what_the_documents_do_not_allow_is_told(
    version: str, exchange: Exchange, problem: str | None
) -> None:
    found = violations(exchange, version)
    assert (found == []) if problem is None else any(problem in line for line in found), found
