"""The fake answers as three real servers were recorded to answer."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest

from tests.contract.openapi import CONTRACT, needs_contract
from tests.fakes.jellyfin import KEY, FakeItem, FakeJellyfin, Fault, Library, Source, film
from tests.fakes.jellyfin.admin import User

VERSIONS = {"10.10.7": "10.10.7", "10.11.11": "10.11.11", "12.0-rc5": "12.0.0"}
IN_USE = ("/System/Info", "/System/Ping", "/health", "/emby/", "/mediabrowser/", "/Library/VirtualFolders", "/Items", "/Videos/", "/nonsense")
NOT_IN_USE = ("/PlaybackInfo", "/Download", "/File", "/stream.mkv", "/Sessions")

DIFFERENT = {
    "delete an external track": "the index depends on what earlier exchanges had uploaded, the order of which is lost between the files",
    "item with userId": "recorded before the item had its first subtitle; the replayed library is as it was at the end",
    "embedded ger": "recorded at an index from before the upload; the replayed item has its sidecar from the start",
    "embedded deu": "the same from 10.11 on",
    "after the shift ger": "recorded at an index from before the upload; the replayed item has its sidecar from the start",
    "after the shift deu": "the same from 10.11 on",
    "read-only folder, save with media on": "the recorded folder was read-only; the replayed one is not",
}
"""Exchanges that are not answered alike, by their note, each with its reason."""


def recorded(folder: str) -> list[dict[str, Any]]:
    exchanges = []
    for file in sorted((CONTRACT / "recorded" / folder).glob("*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            value = json.loads(line)
            path = value["request"]["path"]
            method = value["request"]["method"]
            is_used = path.startswith(IN_USE) and not any(part in path for part in NOT_IN_USE) and method != "HEAD"
            if is_used and (method, path) != ("POST", "/Library/VirtualFolders"):
                exchanges.append({**value, "file": file.stem})
    return exchanges


def items_in(exchanges: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Everything the recorded answers tell of each item, the richest answer winning."""
    known: dict[str, dict[str, Any]] = {}
    for exchange in exchanges:
        body = exchange["response"].get("body")
        rows = body.get("Items", []) if isinstance(body, dict) else []
        if isinstance(body, dict) and "Id" in body and "Type" in body:
            rows = [body]
        for row in rows:
            known[row["Id"]] = {**known.get(row["Id"], {}), **row}
    return known


def as_item(row: dict[str, Any], library: str) -> FakeItem:
    sources = [
        Source(
            source["Id"],
            source["Path"],
            [{name: part for name, part in stream.items() if name != "Index"} for stream in source["MediaStreams"] if not stream.get("IsExternal")],
            size=source["Size"],
            ticks=source["RunTimeTicks"],
            sidecars={
                stream["Path"].rsplit("/", 1)[-1]: b"1\n00:00:00,000 --> 00:00:00,900\nside 1\n"
                for stream in source["MediaStreams"]
                if stream.get("IsExternal")
            },
            extra={name: part for name, part in source.items() if name not in {"MediaStreams", "Id", "Path"}},
        )
        for source in row.get("MediaSources", [])
    ]
    extra = {name: part for name, part in row.items() if name not in {"MediaSources", "MediaStreams", "Id", "Etag", "DateCreated", "Path", "Name", "Type"}}
    return FakeItem(row["Id"], library, row["Type"], row["Name"], sources, datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 11, 22, tzinfo=UTC), extra=extra)


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
    return "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value).__name__


def differs(real: Any, fake: Any, path: str = "") -> str | None:
    """The first place where two shapes say different things; a key only one of them has counts where the answer is one object."""
    if isinstance(real, dict) and isinstance(fake, dict):
        for name in sorted(set(real) & set(fake)):
            if name not in ("traceId", "errors") and (found := differs(real[name], fake[name], f"{path}.{name}")):
                return found
        unknown = set(fake) - set(real)
        return f"{path}: only the fake has {sorted(unknown)}" if unknown and "[]" not in path else None
    if isinstance(real, list) and isinstance(fake, list):
        if real and fake and isinstance(real[0], dict) and isinstance(fake[0], dict):
            return differs(real[0], fake[0], f"{path}[]")
        return None
    return None if real == fake or "NoneType" in (real, fake) else f"{path}: {real} against {fake}"


async def replay(folder: str) -> tuple[int, dict[str, str]]:
    """Send what was recorded and compare; returns how many, and the differences by note."""
    exchanges = recorded(folder)
    different: dict[str, str] = {}
    folders = next(e["response"]["body"] for e in exchanges if e["request"]["path"] == "/Library/VirtualFolders" and e["response"]["status"] == 200)
    async with FakeJellyfin(VERSIONS[folder]) as fake, aiohttp.ClientSession() as session:
        fake.folders = folders
        fake.libraries = [Library(row["ItemId"], row["Name"], row.get("CollectionType", ""), folder=row["Locations"][0]) for row in folders]
        for row in items_in(exchanges).values():
            if row.get("MediaSources"):
                home = next((library.id for library in fake.libraries if str(row["MediaSources"][0]["Path"]).startswith(library.folder)), "")
                fake.add(as_item(row, home))
        fake.users.add("<user token>")
        fake.viewers.add("<viewer token>")
        for exchange in exchanges:
            request, real = exchange["request"], exchange["response"]
            headers = {
                name: str(value).replace("<key>", KEY)
                for name, value in request["headers"].items()
                if name.lower() not in {"host", "content-length", "accept-encoding", "connection"}
            }
            query = {name: str(value).replace("<key>", KEY) for name, value in (request.get("query") or {}).items()}
            body = request.get("body")
            data = (
                None
                if body is None
                else body
                if isinstance(body, str)
                else body["raw"]
                if isinstance(body, dict) and set(body) == {"raw"}
                else json.dumps(body)
            )
            if body is None and request.get("raw") is not None:
                data = request["raw"]
            async with session.request(
                request["method"], fake.url + request["path"], params=query, headers=headers, data=data, allow_redirects=False
            ) as answer:
                content = await answer.read()
                note = exchange["note"]
                media = (real["headers"].get("Content-Type") or "").split(";")[0]
                if answer.status != real["status"]:
                    different[note] = f"{exchange['file']}: status {real['status']}, the fake {answer.status}"
                elif media and media != answer.content_type and real.get("body"):
                    different[note] = f"{exchange['file']}: {media}, the fake {answer.content_type}"
                elif media == "application/json" and not isinstance(real["body"], str) and (place := differs(shape(real["body"]), shape(json.loads(content)))):
                    different[note] = f"{exchange['file']}: {place}"
    return len(exchanges), different


@needs_contract
@pytest.mark.parametrize("folder", VERSIONS)
async def test_every_recorded_exchange_in_use_is_answered_alike(folder: str) -> None:
    count, different = await replay(folder)
    assert count >= 168
    unexplained = {note: place for note, place in different.items() if note not in DIFFERENT}
    assert unexplained == {}


ADMIN_FILES = ("setup", "plugin-install", "webhook-config", "session-proof", "webhook-triggers", "users", "playback")
ADMIN_ROUTES = (
    ("POST", "/Auth/Keys"), ("GET", "/Plugins"), ("POST", "/Plugins"), ("POST", "/Packages/Installed"), ("GET", "/Repositories"), ("POST", "/System/Restart"),
    ("GET", "/ScheduledTasks"), ("POST", "/ScheduledTasks"), ("GET", "/Sessions"), ("POST", "/Sessions/Capabilities"), ("GET", "/System/ActivityLog"),
    ("GET", "/Users"), ("POST", "/Users/Configuration"),
)  # fmt: skip


def admin_exchanges(folder: str) -> list[dict[str, Any]]:
    found = []
    for name in ADMIN_FILES:
        file = CONTRACT / "recorded" / folder / f"{name}.jsonl"
        for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
            value = json.loads(line)
            method, path = value["request"]["method"], value["request"]["path"]
            if any(method == known and path.startswith(start) for known, start in ADMIN_ROUTES) and not path.startswith("/Sessions/Playing"):
                found.append({**value, "file": name})
    return found


@needs_contract
@pytest.mark.parametrize("folder", VERSIONS)
async def test_every_recorded_exchange_about_plugins_tasks_users_and_sessions_is_answered_alike(folder: str) -> None:
    different: dict[str, str] = {}
    exchanges = admin_exchanges(folder)
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
            async with session.request(request["method"], fake.url + path, params=query, headers=headers, data=data) as answer:
                content = await answer.read()
                media = (real["headers"].get("Content-Type") or "").split(";")[0]
                name = f"{request['method']} {path}"
                if answer.status != real["status"]:
                    different[name] = f"{exchange['file']}: status {real['status']}, the fake {answer.status}"
                elif (
                    media == "application/json"
                    and real.get("body")
                    and not isinstance(real["body"], str)
                    and (place := differs(shape(real["body"]), shape(json.loads(content))))
                ):
                    different[name] = f"{exchange['file']}: {place}"
            if path == "/System/Restart":
                while fake.is_starting:
                    await asyncio.sleep(0.05)
    assert len(exchanges) >= 25
    assert different == {}
