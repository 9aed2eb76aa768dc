"""Measured processing speeds."""

from fluxcaption.domain.units import Ms
from fluxcaption.storage.database import Database


class SpeedTable:
    """Measured processing speeds."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def record(self, activity: str, media_ms: Ms, took_ms: Ms) -> None:
        """Add a measurement; old ones fade by half once ten hours are in the sum."""
        await self._db.write(
            "INSERT INTO speeds VALUES (?,?,?) ON CONFLICT (way) DO UPDATE SET"
            " media_ms=iif(media_ms>36000000, media_ms/2, media_ms)+excluded.media_ms, took_ms=iif(media_ms>36000000, took_ms/2, took_ms)+excluded.took_ms",
            (activity, media_ms, took_ms),
        )

    async def get(self, activity: str) -> float | None:
        """Seconds of media done in a second."""
        rows = await self._db.read("SELECT media_ms, took_ms FROM speeds WHERE way=?", (activity,))
        return rows[0]["media_ms"] / rows[0]["took_ms"] if rows and rows[0]["took_ms"] else None
