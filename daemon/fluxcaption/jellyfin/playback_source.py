"""Current and past playbacks of the server."""

from collections.abc import Sequence
from datetime import datetime

from fluxcaption.domain.playback import Playing
from fluxcaption.jellyfin.activity import fetch_activities, fetch_sessions
from fluxcaption.jellyfin.client import JellyfinClient
from fluxcaption.jellyfin.parse import read_played, read_playing, write_time

MAX_ACTIVITIES = 200


class JellyfinPlaybackSource:
    """Reads playbacks from sessions and activity log.

    Every method may raise ServiceUnreachable or KeyRejected.
    """

    def __init__(self, client: JellyfinClient) -> None:
        self._client = client

    async def playing(self) -> Sequence[Playing]:
        """Return the playbacks of sessions that reported recently (J47)."""
        sessions, answer = await fetch_sessions(self._client)
        return read_playing(sessions, answer.headers.get("Date", ""))

    async def played_since(self, since: datetime) -> Sequence[Playing]:
        """Return the playbacks in the activity log since a time (J47)."""
        params = {"minDate": write_time(since), "limit": str(MAX_ACTIVITIES)}
        return read_played(await fetch_activities(self._client, params))
