"""Small named values of the daemon, such as the cursor of scans."""

from fluxcaption.storage.database import Database

_GET = "SELECT value FROM state_values WHERE name = :name"

_SET = "INSERT OR REPLACE INTO state_values (name, value) VALUES (:name, :value)"


class StateValueTable:
    """Small named values of the daemon."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, name: str) -> str | None:
        """Return a value, None if it was never set."""
        rows = await self._database.read(_GET, {"name": name})
        return rows[0]["value"] if rows else None

    async def set(self, name: str, value: str) -> None:
        """Store a value; an equal one is not written again."""
        if await self.get(name) != value:
            await self._database.write(_SET, {"name": name, "value": value})
