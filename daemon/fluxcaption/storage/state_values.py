"""Small named values of the daemon itself."""

from fluxcaption.storage.database import Database


class StateValueTable:
    """Small named values of the daemon itself."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def get(self, name: str) -> str | None:
        """A small fact about the daemon itself."""
        rows = await self._db.read("SELECT value FROM flags WHERE name=?", (name,))
        return rows[0]["value"] if rows else None

    async def set(self, name: str, value: str) -> None:
        """Remember it."""
        if await self.get(name) != value:
            await self._db.write("INSERT OR REPLACE INTO flags VALUES (?,?)", (name, value))
