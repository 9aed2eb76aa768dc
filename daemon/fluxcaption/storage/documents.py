"""Documents (source cues, finished tracks, replaced tracks) by the hash of their bytes."""

import hashlib

from fluxcaption.domain.units import ContentHash
from fluxcaption.storage.database import Database

_PUT = "INSERT INTO documents (ref, content) VALUES (:ref, :content) ON CONFLICT DO NOTHING"

_GET = "SELECT content FROM documents WHERE ref = :ref"


class DocumentTable:
    """Documents by the SHA-256 of their bytes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, content: bytes) -> ContentHash:
        """Store a document. Return its reference."""
        ref = ContentHash(hashlib.sha256(content).hexdigest())
        await self._database.write(_PUT, {"ref": ref, "content": content})
        return ref

    async def get(self, ref: ContentHash) -> bytes | None:
        """Return a document, None if it is not kept any more."""
        rows = await self._database.read(_GET, {"ref": ref})
        return bytes(rows[0]["content"]) if rows else None
