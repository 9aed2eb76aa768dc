"""Fingerprints of media files."""

from fluxcaption.domain.media import MediaIdentity, MediaSource
from fluxcaption.domain.units import Fingerprint, Ms, ServerId, SourceId
from fluxcaption.storage.database import Database, Row

_GET = """
    SELECT fingerprint, size_bytes, duration_ms FROM identities
    WHERE server_id = :server_id AND source_id = :source_id AND revision = :revision
"""

_SAVE = """
    INSERT OR REPLACE INTO identities (
        server_id, source_id, revision, fingerprint, size_bytes, duration_ms, path)
    VALUES (:server_id, :source_id, :revision, :fingerprint, :size_bytes, :duration_ms, :path)
"""


def _identity(row: Row) -> MediaIdentity:
    return MediaIdentity(Fingerprint(row["fingerprint"]), row["size_bytes"], Ms(row["duration_ms"]))


class IdentityTable:
    """Fingerprints of media files, with the revision at which each was read."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, server_id: ServerId, source_id: SourceId, revision: str) -> MediaIdentity | None:
        """Return the identity that was read at this revision of the media, None if it was not."""
        rows = await self._database.read(
            _GET, {"server_id": server_id, "source_id": source_id, "revision": revision}
        )
        return _identity(rows[0]) if rows else None

    async def save(self, server_id: ServerId, source: MediaSource, identity: MediaIdentity) -> None:
        """Store the identity of a media source at its present revision and path."""
        await self._database.write(
            _SAVE,
            {
                "server_id": server_id,
                "source_id": source.id,
                "revision": source.revision,
                "fingerprint": identity.fingerprint,
                "size_bytes": identity.size_bytes,
                "duration_ms": identity.duration_ms,
                "path": source.path,
            },
        )
