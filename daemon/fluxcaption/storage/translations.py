"""Translations by source text."""

from collections.abc import Collection, Mapping

from fluxcaption.domain.transcripts import TranslationKey
from fluxcaption.storage.database import Database
from fluxcaption.storage.rows import as_json_list

_FIND = """
    SELECT text, translated FROM translations
    WHERE text IN (SELECT value FROM json_each(:texts)) AND source = :source AND target = :target
        AND backend = :backend AND model_revision = :model_revision AND glossary = :glossary
"""

_SAVE = """
    INSERT OR REPLACE INTO translations (source, target, backend, model_revision, glossary, text, translated)
    VALUES (:source, :target, :backend, :model_revision, :glossary, :text, :translated)
"""


def _columns(key: TranslationKey) -> dict[str, object]:
    return {
        "source": str(key.source),
        "target": str(key.target),
        "backend": key.backend,
        "model_revision": key.model_revision,
        "glossary": key.glossary,
    }


class TranslationTable:
    """Translations by source text, language pair, model and glossary."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, key: TranslationKey, texts: Collection[str]) -> Mapping[str, str]:
        """Return earlier translations by source text; texts without one are left out."""
        rows = await self._database.read(_FIND, {**_columns(key), "texts": as_json_list(sorted(texts))})
        return {row["text"]: row["translated"] for row in rows}

    async def save(self, key: TranslationKey, texts: Mapping[str, str]) -> None:
        """Store translations by source text, in one transaction."""
        columns = _columns(key)
        await self._database.write_many(
            _SAVE, [{**columns, "text": text, "translated": translated} for text, translated in texts.items()]
        )
