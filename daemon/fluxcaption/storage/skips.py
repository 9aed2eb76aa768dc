"""Decisions that nothing is to be made."""

from datetime import datetime

from fluxcaption.domain.jobs import ANY_SKIP_KEY
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.units import Fingerprint
from fluxcaption.storage.database import Database
from fluxcaption.storage.rows import as_ms


class SkipTable:
    """Decisions that nothing is to be made."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def remember(
        self,
        fingerprint: Fingerprint,
        target: LanguageTag,
        skip_key: str,
        code: str,
        reason: str,
        now: datetime,
    ) -> None:
        """Remember that nothing is to be made; a promise."""
        await self._db.write_durably(
            "INSERT OR REPLACE INTO settled VALUES (?,?,?,?,?,?)",
            (fingerprint, str(target), skip_key, code, reason, as_ms(now)),
        )

    async def reason(
        self, fingerprint: Fingerprint, target: LanguageTag, skip_key: str
    ) -> tuple[str, str] | None:
        """Code and reason of such a decision."""
        rows = await self._db.read(
            "SELECT code, reason FROM settled WHERE fingerprint=? AND target=? AND settings_hash IN (?, ?)",
            (fingerprint, str(target), skip_key, ANY_SKIP_KEY),
        )
        return (rows[0]["code"], rows[0]["reason"]) if rows else None

    async def forget(self, fingerprint: Fingerprint, target: LanguageTag) -> None:
        """A person asked: forget the decision."""
        await self._db.write(
            "DELETE FROM settled WHERE fingerprint=? AND target=?", (fingerprint, str(target))
        )
