"""Sentences into another language, batch by batch: each accepted or refused by itself, a failing batch halved."""

import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from fluxcaption.domain.cues import TextUnit
from fluxcaption.domain.errors import ReplyUnusable, TransientError
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.transcripts import TranslationKey
from fluxcaption.domain.units import Ms, UnitId
from fluxcaption.ports.executor import Executor, UnitResult, WorkKind, WorkUnit
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


class BatchTranslator:
    """Asks a translator by units of work, so that another executor can do the asking."""

    def __init__(self, translator: Translator, executor: Executor, key: TranslationKey, attempt: int) -> None:
        self._translator = translator
        self._executor = executor
        self._key = key
        self._attempt = attempt

    async def ask(self, units: Sequence[TextUnit]) -> Mapping[UnitId, str]:
        """Translate one batch; an answer to another question counts as none."""
        text = "\x1f".join(f"{unit.id}\x1e{unit.text}" for unit in units)
        unit = WorkUnit(
            id=UnitId("translate-" + hashlib.sha256(text.encode()).hexdigest()[:16]),
            kind=WorkKind.TRANSLATE,
            attempt=self._attempt,
            language=str(self._key.source),
            target_language=str(self._key.target),
            model_revision=self._key.model_revision,
            asr_settings_key=self._translator.backend_id,
            texts=tuple(units),
        )
        result = await self._executor.run(unit)
        request = {unit.id for unit in units}
        return (
            {name: text for name, text in result.texts.items() if name in request}
            if result.answers(unit)
            else {}
        )


def translation_handler(translators: Sequence[Translator]) -> Callable[[WorkUnit], Awaitable[UnitResult]]:
    """What an executor does with a batch: find the translator it was meant for, and ask."""
    by_settings = {translator.backend_id: translator for translator in translators}

    async def handle(unit: WorkUnit) -> UnitResult:
        began = time.monotonic()
        source, target = LanguageTag.parse(unit.language), LanguageTag.parse(unit.target_language)
        texts = await by_settings[unit.asr_settings_key].translate(unit.texts, source, target)
        took = Ms(int((time.monotonic() - began) * 1000))
        return UnitResult(
            unit.id,
            unit.kind,
            unit.attempt,
            unit.language,
            unit.model_revision,
            unit.asr_settings_key,
            texts=dict(texts),
            took_ms=took,
        )

    return handle


async def translate_in_batches(
    units: Sequence[TextUnit],
    through: BatchTranslator,
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
        got = await _ask(through, batch, report)
        report.texts |= got
        new = {unit.text: got[unit.id] for unit in batch if unit.id in got}
        if new:
            await save(new)
        if progress:
            progress(first + len(batch))
    return report


async def _ask(
    through: BatchTranslator, units: Sequence[TextUnit], report: TranslationReport
) -> dict[UnitId, str]:
    """Ask for a batch; what is missing is asked again in halves, down to one."""
    reason = "not answered"
    try:
        got = dict(await through.ask(units))
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
            got |= await _ask(through, half, report)
    return got
