"""Libraries and items of the server, with the collections and series tags that rules refer to."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from fluxcaption.domain.errors import ItemGone, ServiceUnreachable
from fluxcaption.domain.media import Item, Library
from fluxcaption.domain.units import ItemId, ServerId
from fluxcaption.jellyfin.activity import fetch_tasks
from fluxcaption.jellyfin.answer import SERVICE
from fluxcaption.jellyfin.client import JellyfinClient
from fluxcaption.jellyfin.json_fields import Json, as_object, as_objects, as_texts, is_id, item_rows
from fluxcaption.jellyfin.pages import PAGE_TIMEOUT_S, UNREQUESTED_ITEMS, parse_item_rows, read_pages
from fluxcaption.jellyfin.parse import (
    FOLDERS,
    UNREADABLE,
    TextsById,
    read_date,
    read_etag,
    read_item,
    read_libraries,
    read_tags,
    read_time,
    write_time,
)
from fluxcaption.jellyfin.paths import PathMap
from fluxcaption.ports.media_server import ItemRevision, LibraryScan
from fluxcaption.ports.storage import ItemRecord

log = logging.getLogger(__name__)

ITEM_PAGE_SIZE = 200
LEAN_PAGE_SIZE = 500
IDS_PER_REQUEST = 50
ITEM_FIELDS = "Path,MediaSources,ProviderIds,DateCreated,Etag"
LIBRARY_SCAN_TASK = "RefreshLibrary"


@dataclass(frozen=True, slots=True)
class RuleNeeds:
    """Facts about items that only some rules need and that cost extra requests.

    Attributes:
        tags: True if a rule refers to tags.
        collections: Names of the collections that rules refer to.
    """

    tags: bool = False
    collections: frozenset[str] = frozenset()


ItemRecords = Callable[[ServerId, Sequence[ItemId]], Awaitable[Mapping[ItemId, ItemRecord]]]
"""Loads what earlier scans stored of some items."""


@dataclass(frozen=True, slots=True)
class _LibraryFolder:
    """One folder of a library; the path has slashes only and ends with one."""

    path: str
    library: str


class JellyfinLibraryReader:
    """Reads libraries and items. Fetching items reads the libraries first if that has not happened yet.

    Every method may raise ServiceUnreachable or KeyRejected.
    """

    def __init__(
        self, client: JellyfinClient, paths: PathMap, needs: RuleNeeds, records: ItemRecords | None
    ) -> None:
        self._client = client
        self._paths = paths
        self._needs = needs
        self._records = records
        self._item_fields = ITEM_FIELDS + (",Tags" if needs.tags else "")
        self._collections: TextsById = {}
        self._series_tags: TextsById = {}
        self._folders: list[_LibraryFolder] | None = None

    async def libraries(self) -> Sequence[Library]:
        """Return the libraries of films, episodes and home videos (J7).

        Also refreshes the collections and series tags that rules refer to.
        """
        answer = await self._client.call("GET", "/Library/VirtualFolders")
        if self._needs.collections:
            self._collections = await self._read_collections()
        rows = as_objects(answer.json())
        self._folders = [
            _LibraryFolder(_with_slashes(path).rstrip("/") + "/", str(row.get("Name", "")))
            for row in rows
            for path in as_texts(row.get("Locations"))
        ]
        libraries = read_libraries(rows)
        if self._needs.tags:
            self._series_tags = await self._read_series_tags(libraries)
        return libraries

    async def items(self, library: Library, since: datetime | None = None) -> AsyncIterator[Sequence[Item]]:
        """Read the items of a library page by page, each item once (J8).

        Args:
            library: One of `libraries`.
            since: Read only the items that were saved after this time.
        """
        params = {"fields": self._item_fields}
        if since is not None:
            # 10.10 answers `minDateLastSaved` with an error.
            params["minDateLastSavedForUser"] = write_time(since)
        async for rows in read_pages(self._client, library.id, ITEM_PAGE_SIZE, params):
            yield await self._finish([self._read_item(row, library.name) for row in rows])

    async def item_revisions(self, library: Library) -> AsyncIterator[Sequence[ItemRevision]]:
        """Read only the ids and Etags of a library, page by page: an eighth of the cost of `items` (J8)."""
        async for rows in read_pages(self._client, library.id, LEAN_PAGE_SIZE, {"fields": "Etag"}):
            yield [
                ItemRevision(ItemId(row["Id"]), read_etag(row, self._collections, self._series_tags))
                for row in rows
            ]

    async def fetch_items(self, ids: Sequence[ItemId], library: Library | None = None) -> Sequence[Item]:
        """Read items by id; items that no longer exist are left out.

        Args:
            ids: Any number of ids; invalid ids are skipped.
            library: Library of all the items, if the caller knows it.

        Raises:
            ServiceUnreachable: The answer contains other items: without a valid id the server ignores the
                filter (J8).
        """
        items: list[Item] = []
        for first in range(0, len(ids), IDS_PER_REQUEST):
            batch = [item_id for item_id in ids[first : first + IDS_PER_REQUEST] if is_id(item_id)]
            if not batch:
                continue
            rows = await self._fetch_rows(batch)
            names = (
                dict.fromkeys((row["Id"] for row in rows), library.name)
                if library is not None
                else await self._library_names(rows)
            )
            items += await self._finish([self._read_item(row, names[row["Id"]]) for row in rows])
        return items

    async def fetch_item(self, item_id: ItemId) -> Item:
        """Read one item by the list route, because the route of a single item needs a user (J3).

        Raises:
            ItemGone: The server does not know the item.
        """
        for item in await self.fetch_items([item_id]):
            return item
        raise ItemGone(item_id)

    async def episodes_of(self, item_id: ItemId) -> Sequence[ItemId]:
        """Return the items below a series, season or folder; the id itself for any other item (J46)."""
        if not is_id(item_id):
            return []
        rows = await self._fetch_rows([item_id])
        if not rows or rows[0].get("Type") not in FOLDERS:
            return [item_id]
        parent = Library(item_id, "")
        return [revision.id async for page in self.item_revisions(parent) for revision in page]

    async def library_scan(self) -> LibraryScan:
        """Return the state of the task `RefreshLibrary` (J40)."""
        tasks, answer = await fetch_tasks(self._client)
        task = next((task for task in tasks if task.get("Key") == LIBRARY_SCAN_TASK), None)
        if task is None:
            return LibraryScan()
        last_run = as_object(task.get("LastExecutionResult"))
        return LibraryScan(
            is_running=task.get("State", "Idle") != "Idle",
            started_at=_optional_time(last_run.get("StartTimeUtc")),
            ended_at=_optional_time(last_run.get("EndTimeUtc")),
            now=read_date(answer.headers.get("Date", "")),
        )

    async def _fetch_rows(self, ids: Sequence[str]) -> Sequence[Json]:
        """Return the rows of some valid ids.

        Raises:
            ServiceUnreachable: The answer contains other items.
        """
        params = {
            "ids": ",".join(ids),
            "fields": self._item_fields,
            "enableImages": "false",
            "enableUserData": "false",
        }
        answer = await self._client.call("GET", "/Items", params=params, timeout_s=PAGE_TIMEOUT_S)
        rows = item_rows(answer.json())
        requested = set(ids)
        if any(row["Id"] not in requested for row in rows):
            raise ServiceUnreachable(SERVICE, self._client.url, UNREQUESTED_ITEMS)
        return rows

    async def _library_names(self, rows: Sequence[Json]) -> Mapping[str, str]:
        """Return the name of each row's library, by the row's id.

        A stored record comes first, because the server may spell an item's path differently from the folder
        of its library.
        """
        if self._folders is None:
            await self.libraries()
        records: Mapping[ItemId, ItemRecord] = {}
        if self._records is not None and rows:
            server_id = ServerId(str(rows[0].get("ServerId", "")))
            records = await self._records(server_id, [ItemId(row["Id"]) for row in rows])
        return {
            row["Id"]: record.library
            if (record := records.get(ItemId(row["Id"]))) is not None
            else self._library_of_path(str(row.get("Path", "")))
            for row in rows
        }

    def _library_of_path(self, path: str) -> str:
        """Return the name of the library whose folder contains a path; empty if there is none."""
        path = _with_slashes(path)
        return next((folder.library for folder in self._folders or () if path.startswith(folder.path)), "")

    def _read_item(self, row: Json, library: str) -> Item:
        return read_item(row, library, self._collections, self._series_tags)

    async def _finish(self, items: Sequence[Item]) -> Sequence[Item]:
        """Log unreadable items, and mark sources on cloud storage as remote."""
        unreadable = [item for item in items if item.skipped.startswith(UNREADABLE)]
        if unreadable:
            first = unreadable[0]
            log.warning(
                "items were skipped: %s",
                first.skipped,
                extra={"items": len(unreadable), "first": first.name, "id": first.id},
            )
        if self._paths.is_empty:
            return items
        return await asyncio.to_thread(lambda: [self._with_remote_sources(item) for item in items])

    def _with_remote_sources(self, item: Item) -> Item:
        """Return the item with its sources on cloud storage marked as remote. Blocks."""
        sources = tuple(
            replace(source, is_remote=True) if self._paths.is_on_cloud_storage(source) else source
            for source in item.sources
        )
        return replace(item, sources=sources)

    async def _read_collections(self) -> TextsById:
        """Return the names of the wanted collections of each member, by the member's id."""
        params = {
            "recursive": "true",
            "includeItemTypes": "BoxSet",
            "collapseBoxSetItems": "false",
            "enableImages": "false",
        }
        wanted = {name.casefold() for name in self._needs.collections}
        names: dict[str, tuple[str, ...]] = {}
        answer = await self._client.call("GET", "/Items", params=params, timeout_s=PAGE_TIMEOUT_S)
        for collection in item_rows(answer.json()):
            if str(collection.get("Name", "")).casefold() not in wanted:
                continue
            members_query = {"parentId": str(collection["Id"]), "enableImages": "false"}
            members = await self._client.call("GET", "/Items", params=members_query, timeout_s=PAGE_TIMEOUT_S)
            for member in await parse_item_rows(members):
                member_id = str(member["Id"])
                names[member_id] = (*names.get(member_id, ()), str(collection["Name"]))
        return names

    async def _read_series_tags(self, libraries: Sequence[Library]) -> TextsById:
        """Return the tags of each series, by its id; the server does not repeat them at the episodes."""
        params = {"includeItemTypes": "Series", "fields": "Tags"}
        return {
            row["Id"]: read_tags(row)
            for library in libraries
            async for rows in read_pages(self._client, library.id, LEAN_PAGE_SIZE, params)
            for row in rows
            if row.get("Tags")
        }


def _with_slashes(path: str) -> str:
    return path.replace("\\", "/")


def _optional_time(value: object) -> datetime | None:
    return read_time(value) if value else None
