"""Fingerprints of media files."""

from fluxcaption.domain.media import MediaIdentity, MediaSource
from fluxcaption.domain.units import Fingerprint, Ms, ServerId, SourceId
from fluxcaption.storage.database import Database


class IdentityTable:
    """Fingerprints of media files."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def get(self, server_id: ServerId, source_id: SourceId, revision: str) -> MediaIdentity | None:
        """What was read of that file at that revision."""
        rows = await self._db.read(
            "SELECT * FROM identities WHERE server_id=? AND source_id=? AND revision=?",
            (server_id, source_id, revision),
        )
        return (
            MediaIdentity(
                Fingerprint(rows[0]["fingerprint"]), rows[0]["size_bytes"], Ms(rows[0]["duration_ms"])
            )
            if rows
            else None
        )

    async def save(self, server_id: ServerId, source: MediaSource, identity: MediaIdentity) -> None:
        """Remember it, with where the file lies."""
        await self._db.write(
            "INSERT OR REPLACE INTO identities (server_id, source_id, revision, fingerprint, size_bytes, duration_ms, path) VALUES (?,?,?,?,?,?,?)",
            (
                server_id,
                source.id,
                source.revision,
                identity.fingerprint,
                identity.size_bytes,
                identity.duration_ms,
                source.path,
            ),
        )
