"""Sentences into another language, batch by batch: each accepted or refused by itself, a failing batch halved."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from fluxcaption.domain.cues import TextUnit
from fluxcaption.domain.errors import ReplyUnusable, TransientError
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.units import UnitId
from fluxcaption.ports.translation import Translator

BATCH = 20
"""Units asked for at once: up to 20 paragraphs are more or less reliable (translation sheet)."""


@dataclass(slots=True)
class TranslationReport:
    """What became of the sentences.

    Attributes:
        untranslated: Why, by id; such a sentence keeps its source text and is counted.
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
    """Translate every unit once, saving each batch before the next and telling how many are done.

    Raises:
        ServiceUnreachable: The backend went away; what was saved stays.
    """
    report = TranslationReport()
    for first in range(0, len(units), BATCH):
        batch = units[first : first + BATCH]
        got = await _ask(translator, batch, source, target, report)
        report.texts |= got
        new = {unit.text: got[unit.id] for unit in batch if unit.id in got}
        if new:
            await save(new)
        if progress:
            progress(first + len(batch))
    return report


async def _ask(
    translator: Translator,
    units: Sequence[TextUnit],
    source: LanguageTag,
    target: LanguageTag,
    report: TranslationReport,
) -> dict[UnitId, str]:
    """Ask for a batch; what is missing is asked again in halves, down to one."""
    reason = "not answered"
    try:
        texts = await translator.translate(units, source, target)
        got = {unit.id: texts[unit.id] for unit in units if unit.id in texts}
    except TransientError as error:
        if not isinstance(error, ReplyUnusable):
            raise
        got, reason = {}, str(error)
    missing = [unit for unit in units if unit.id not in got]
    if not missing:
        return got
    if len(units) == 1:
        report.untranslated[units[0].id] = reason
        return got
    halves = (
        [missing]
        if len(missing) <= len(units) // 2
        else [missing[: len(missing) // 2], missing[len(missing) // 2 :]]
    )
    for half in halves:
        if half:
            got |= await _ask(translator, half, source, target, report)
    return got
