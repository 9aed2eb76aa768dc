"""Decisions to make nothing, by media, target language and settings."""

from datetime import datetime

from fluxcaption.domain.jobs import ANY_SKIP_KEY
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.units import Fingerprint
from fluxcaption.storage.database import Database
from fluxcaption.storage.rows import as_ms

_REMEMBER = """
    INSERT OR REPLACE INTO skips (fingerprint, target, skip_key, code, reason, skipped_at)
    VALUES (:fingerprint, :target, :skip_key, :code, :reason, :now)
"""

_REASON = """
    SELECT code, reason FROM skips
    WHERE fingerprint = :fingerprint AND target = :target AND skip_key IN (:skip_key, :any_skip_key)
"""

_FORGET = "DELETE FROM skips WHERE fingerprint = :fingerprint AND target = :target"


class SkipTable:
    """Decisions to make nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def remember(
        self,
        fingerprint: Fingerprint,
        target: LanguageTag,
        skip_key: str,
        code: str,
        reason: str,
        now: datetime,
    ) -> None:
        """Store a decision to make nothing. Durable: returns after fsync."""
        await self._database.write_durably(
            _REMEMBER,
            {
                "fingerprint": fingerprint,
                "target": str(target),
                "skip_key": skip_key,
                "code": code,
                "reason": reason,
                "now": as_ms(now),
            },
        )

    async def reason(
        self, fingerprint: Fingerprint, target: LanguageTag, skip_key: str
    ) -> tuple[str, str] | None:
        """Return code and reason of a decision that holds under these settings, None if there is none."""
        rows = await self._database.read(
            _REASON,
            {
                "fingerprint": fingerprint,
                "target": str(target),
                "skip_key": skip_key,
                "any_skip_key": ANY_SKIP_KEY,
            },
        )
        return (rows[0]["code"], rows[0]["reason"]) if rows else None

    async def forget(self, fingerprint: Fingerprint, target: LanguageTag) -> None:
        """Delete the decisions about a target, whatever their settings."""
        await self._database.write(_FORGET, {"fingerprint": fingerprint, "target": str(target)})
