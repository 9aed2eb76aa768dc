"""Documents by content hash."""

import hashlib

from fluxcaption.domain.units import ContentHash
from fluxcaption.storage.database import Database


class DocumentTable:
    """Documents by content hash."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def put(self, content: bytes) -> ContentHash:
        """Keep bytes by their hash."""
        ref = ContentHash(hashlib.sha256(content).hexdigest())
        await self._db.write("INSERT INTO documents VALUES (?,?) ON CONFLICT DO NOTHING", (ref, content))
        return ref

    async def get(self, ref: ContentHash) -> bytes | None:
        """Bytes by their hash."""
        rows = await self._db.read("SELECT content FROM documents WHERE ref=?", (ref,))
        return bytes(rows[0]["content"]) if rows else None
