"""Reading of `/Items` page by page."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

from fluxcaption.domain.errors import ServiceUnreachable
from fluxcaption.jellyfin.answer import SERVICE, Answer
from fluxcaption.jellyfin.client import JellyfinClient
from fluxcaption.jellyfin.json_fields import Json, item_rows
from fluxcaption.jellyfin.parse import KINDS

PAGE_OVERLAP = 20
"""Rows of a page that the next page reads again.

Rows that disappear during the walk shift later rows forward. A page without any repeated row means that more
rows disappeared than pages overlap, and the walk steps back by one page.
"""

PAGE_TIMEOUT_S = 120.0
UNREQUESTED_ITEMS = "the answer contains items that were not requested"


async def read_pages(
    client: JellyfinClient, library_id: str, size: int, params: Mapping[str, str]
) -> AsyncIterator[Sequence[Json]]:
    """Read the rows below a library, series or season, each row once, in pages of at most `size` rows (J8).

    Args:
        client: Connection to the server.
        library_id: Id of the parent.
        size: Rows of one request.
        params: Added to the query; override the defaults.

    Raises:
        ServiceUnreachable: A page failed, or has more rows than requested.
    """
    # A hash takes a third of the memory of an id, and a library may have hundreds of thousands of items.
    seen: set[int] = set()
    start = 0
    while True:
        query = {**_page_query(library_id, start, size), **params}
        answer = await client.call("GET", "/Items", params=query, timeout_s=PAGE_TIMEOUT_S)
        rows = await parse_item_rows(answer)
        if len(rows) > size:
            raise ServiceUnreachable(SERVICE, client.url, UNREQUESTED_ITEMS)
        new_rows = [row for row in rows if hash(row["Id"]) not in seen]
        if start and len(new_rows) == len(rows):
            start = max(0, start - size)
            continue
        seen.update(hash(row["Id"]) for row in new_rows)
        yield new_rows
        if len(rows) < size:
            return
        start += size - PAGE_OVERLAP


async def parse_item_rows(answer: Answer) -> Sequence[Json]:
    """Return the rows of an answer that carry a valid id.

    Runs in a thread: a page with thousands of streams takes tens of milliseconds to parse.
    """
    return await asyncio.to_thread(lambda: item_rows(answer.json()))


def _page_query(library_id: str, start: int, size: int) -> dict[str, str]:
    return {
        "parentId": library_id,
        "recursive": "true",
        "includeItemTypes": ",".join(KINDS),
        "excludeLocationTypes": "Virtual",
        "enableImages": "false",
        "enableUserData": "false",
        "enableTotalRecordCount": "false",
        # Without this, 10.10 and 10.11 answer requests by API key from a cache and ignore the date filter.
        "collapseBoxSetItems": "false",
        "sortBy": "DateCreated,SortName",
        "sortOrder": "Ascending",
        "startIndex": str(start),
        "limit": str(size),
    }
