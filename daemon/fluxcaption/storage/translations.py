"""Translations by source text."""

from collections.abc import Collection, Mapping

import aiosqlite

from fluxcaption.domain.transcripts import TranslationKey
from fluxcaption.storage.database import Database
from fluxcaption.storage.rows import marks

MAX_VALUES = 500
"""Values asked for in one query; SQLite takes at least 999."""


class TranslationTable:
    """Translations by source text."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def find(self, key: TranslationKey, texts: Collection[str]) -> Mapping[str, str]:
        """Earlier translations by source text."""
        found: dict[str, str] = {}
        wanted = sorted(texts)
        for first in range(0, len(wanted), MAX_VALUES):
            part = wanted[first : first + MAX_VALUES]
            rows = await self._db.read(
                f"SELECT text, translated FROM translations WHERE text IN ({marks(part)}) AND source=? AND target=? AND backend=? AND model_revision=? AND glossary=?",
                (*part, *_translation_values(key)),
            )
            found |= {row["text"]: row["translated"] for row in rows}
        return found

    async def save(self, key: TranslationKey, texts: Mapping[str, str]) -> None:
        """Checkpoint one batch."""

        async def body(connection: aiosqlite.Connection) -> None:
            await connection.executemany(
                "INSERT OR REPLACE INTO translations (source, target, backend, model_revision, glossary, text, translated) VALUES (?,?,?,?,?,?,?)",
                [(*_translation_values(key), text, translated) for text, translated in texts.items()],
            )

        await self._db.checkpoint(body)


def _translation_values(key: TranslationKey) -> tuple[object, ...]:
    return (str(key.source), str(key.target), key.backend, key.model_revision, key.glossary)
