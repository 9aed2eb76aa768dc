"""Check of `server.path_map` against one file of each library."""

import asyncio
from collections.abc import Sequence

from fluxcaption.domain.media import MediaSource
from fluxcaption.jellyfin.client import JellyfinClient
from fluxcaption.jellyfin.findings import Finding, Severity
from fluxcaption.jellyfin.json_fields import Json, query_rows
from fluxcaption.jellyfin.parse import read_item
from fluxcaption.jellyfin.paths import PathPairs, local_path, path_pairs
from fluxcaption.settings import JellyfinConfig

MAX_SHOWN_FAULTS = 3


async def check_path_map(client: JellyfinClient, server: JellyfinConfig) -> Finding:
    """Check that one file of each library exists under its mapped path and has the reported size."""
    if not server.path_map:
        return Finding("path_map", Severity.OK, "no folder is mapped; audio is streamed from the server")
    pairs = path_pairs(server)
    answer = await client.call("GET", "/Library/VirtualFolders")
    faults = [
        fault
        for folder in answer.rows()
        for source in await _sample_sources(client, folder)
        if (fault := await _mapping_fault(source, pairs))
    ]
    if faults:
        return Finding(
            "path_map",
            Severity.PROBLEM,
            "; ".join(faults[:MAX_SHOWN_FAULTS]),
            "correct server.path_map: each pair must name the same folder, "
            "first as the server sees it, then as this machine sees it",
        )
    return Finding("path_map", Severity.OK, "one file of each library exists under its mapped path")


async def _sample_sources(client: JellyfinClient, folder: Json) -> Sequence[MediaSource]:
    """Return the media sources of one item of a library."""
    params = {
        "parentId": str(folder.get("ItemId")),
        "recursive": "true",
        "includeItemTypes": "Movie,Episode,Video",
        "fields": "Path,MediaSources",
        "limit": "1",
        "collapseBoxSetItems": "false",
        "excludeLocationTypes": "Virtual",
        "enableImages": "false",
    }
    answer = await client.call("GET", "/Items", params=params)
    return [source for row in query_rows(answer.mapping()) for source in read_item(row).sources]


async def _mapping_fault(source: MediaSource, pairs: PathPairs) -> str:
    """Return the fault in the mapping of one media source; empty if there is none."""
    path = local_path(source.path, pairs)
    if path is None:
        return f"{source.path} is not below any server folder of path_map"
    try:
        size_bytes = (await asyncio.to_thread(path.stat)).st_size
    except OSError:
        return f"{path} does not exist"
    return f"{path} has another size than on the server" if size_bytes != source.size_bytes else ""
