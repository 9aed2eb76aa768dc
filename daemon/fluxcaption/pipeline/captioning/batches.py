"""Translation in batches: each batch is stored before the next, and missing answers are requested again."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from fluxcaption.domain.cues import TextUnit
from fluxcaption.domain.errors import ReplyUnusable
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.units import UnitId
from fluxcaption.ports.translation import Translator

MAX_BATCH_SIZE = 20
"""Units in one request: up to 20 paragraphs are translated more or less reliably (notes/faults.md F24)."""


@dataclass(slots=True)
class TranslationReport:
    """The result of a translation.

    Attributes:
        texts: Translations by unit id.
        untranslated: Reasons by the id of each unit that has no translation.
    """

    texts: dict[UnitId, str] = field(default_factory=dict)
    untranslated: dict[UnitId, str] = field(default_factory=dict)


async def translate_in_batches(
    units: Sequence[TextUnit],
    translator: Translator,
    source: LanguageTag,
    target: LanguageTag,
    save: Callable[[dict[str, str]], Awaitable[None]],
    progress: Callable[[int], None] | None = None,
) -> TranslationReport:
    """Translate units batch by batch.

    Args:
        units: The units, each with its own id.
        translator: The translation backend.
        source: Language of the units.
        target: Language to translate into.
        save: Stores the translations of a batch, by source text, before the next batch starts.
        progress: Called with the number of finished units after each batch.

    Raises:
        UnsupportedLanguagePair: The translator has no model for the pair.
        ServiceUnreachable: The translator is unavailable; saved batches remain.
        ModelMissing: The model of the translator is missing.
    """
    report = TranslationReport()
    for first in range(0, len(units), MAX_BATCH_SIZE):
        batch = units[first : first + MAX_BATCH_SIZE]
        await _translate_batch(batch, translator, source, target, report)
        translations = {unit.text: report.texts[unit.id] for unit in batch if unit.id in report.texts}
        if translations:
            await save(translations)
        if progress:
            progress(first + len(batch))
    return report


async def _translate_batch(
    units: Sequence[TextUnit],
    translator: Translator,
    source: LanguageTag,
    target: LanguageTag,
    report: TranslationReport,
) -> None:
    """Add the translations of one batch to the report. Retry units without an answer in smaller batches."""
    answer: Mapping[UnitId, str] = {}
    reason = "not answered"
    try:
        answer = await translator.translate(units, source, target)
    except ReplyUnusable as error:
        reason = str(error)
    report.texts |= {unit.id: answer[unit.id] for unit in units if unit.id in answer}
    missing = [unit for unit in units if unit.id not in answer]
    if missing and len(units) == 1:
        report.untranslated[units[0].id] = reason
        return
    for batch in _retry_batches(missing, len(units)):
        await _translate_batch(batch, translator, source, target, report)


def _retry_batches(missing: Sequence[TextUnit], size: int) -> Sequence[Sequence[TextUnit]]:
    """Split the missing units into batches of about half the size of the failed one, at most."""
    if not missing:
        return []
    if len(missing) <= size // 2:
        return [missing]
    middle = len(missing) // 2
    return [missing[:middle], missing[middle:]]
