"""Readers of sessions, activity log and scheduled tasks; shared by the adapter and by `link`."""

from collections.abc import Mapping, Sequence

from fluxcaption.jellyfin.answer import Answer
from fluxcaption.jellyfin.client import JellyfinClient
from fluxcaption.jellyfin.json_fields import Json, as_objects, query_rows

SESSION_AGE_S = 120
"""Sessions without activity for longer are left out by the server."""


async def fetch_sessions(client: JellyfinClient) -> tuple[Sequence[Json], Answer]:
    """Return the recently active sessions, and the answer for its `Date` header."""
    answer = await client.call("GET", "/Sessions", params={"activeWithinSeconds": str(SESSION_AGE_S)})
    return as_objects(answer.json()), answer


async def fetch_activities(client: JellyfinClient, params: Mapping[str, str]) -> Sequence[Json]:
    """Return rows of the activity log, newest first."""
    return query_rows((await client.call("GET", "/System/ActivityLog/Entries", params=params)).json())


async def fetch_tasks(client: JellyfinClient) -> tuple[Sequence[Json], Answer]:
    """Return the scheduled tasks with their last results, and the answer for its `Date` header."""
    answer = await client.call("GET", "/ScheduledTasks")
    return as_objects(answer.json()), answer
