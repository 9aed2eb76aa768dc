"""Measured processing speeds."""

from fluxcaption.domain.units import Ms
from fluxcaption.storage.database import Database

HALVE_ABOVE_MS = 10 * 3_600_000
"""Above this much media in the sum, earlier measurements count half with each new one."""

_RECORD = """
    INSERT INTO speeds (activity, media_ms, took_ms) VALUES (:activity, :media_ms, :took_ms)
    ON CONFLICT (activity) DO UPDATE SET
        media_ms = iif(media_ms > :halve_above_ms, media_ms / 2, media_ms) + excluded.media_ms,
        took_ms = iif(media_ms > :halve_above_ms, took_ms / 2, took_ms) + excluded.took_ms
"""

_GET = "SELECT media_ms, took_ms FROM speeds WHERE activity = :activity"


class SpeedTable:
    """Measured processing speeds by activity."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, activity: str, media_ms: Ms, took_ms: Ms) -> None:
        """Add a measurement to the sums of an activity."""
        await self._database.write(
            _RECORD,
            {
                "activity": activity,
                "media_ms": media_ms,
                "took_ms": took_ms,
                "halve_above_ms": HALVE_ABOVE_MS,
            },
        )

    async def get(self, activity: str) -> float | None:
        """Return seconds of media per second of work, None if nothing was measured."""
        rows = await self._database.read(_GET, {"activity": activity})
        return rows[0]["media_ms"] / rows[0]["took_ms"] if rows and rows[0]["took_ms"] else None
