"""A CTranslate2 model in this process; the door of ctranslate2 and sentencepiece for text."""

import asyncio
import gc
import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from fluxcaption.domain.cues import TextUnit
from fluxcaption.domain.errors import (
    JobError,
    ModelMissing,
    OutOfMemory,
    ReplyUnusable,
    UnsupportedLanguagePair,
)
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.units import UnitId
from fluxcaption.settings import LocalTranslation
from fluxcaption.translation.layouts import Layout, read_layout

BEAM_SIZE = 4
NEEDED_FILES = ("model.bin", "config.json", "sentencepiece.model")


class LocalTranslator:
    """One model, loaded with the first batch and unloaded when idle; one thread of its own."""

    def __init__(
        self,
        settings: LocalTranslation,
        threads: int,
        miniature: Path,
        lower_thread_priority: Callable[[], None] | None = None,
    ) -> None:
        self._settings = settings
        self._directory = miniature if settings.model == "miniature" else Path(settings.model)
        self._threads = threads
        self._model: Any = None
        self._pieces: Any = None
        self._layout: Layout | None = None
        self._no_layout: tuple[int, ModelMissing] | None = None
        """Why the directory as it was at that moment (ns) tells no layout: finding that out can mean reading a whole vocabulary."""
        self._revision: str | None = None
        self._thread = ThreadPoolExecutor(
            max_workers=1, thread_name_prefix="translate", initializer=lower_thread_priority
        )

    @property
    def name(self) -> str:
        """The model's directory name."""
        return f"local {'miniature' if self._settings.model == 'miniature' else self._directory.name}"

    @property
    def revision(self) -> str:
        """Hash over the model's file, computed once."""
        if self._revision is None:
            digest = hashlib.sha256()
            with self._checked("model.bin").open("rb") as file:
                while chunk := file.read(2**20):
                    digest.update(chunk)
            self._revision = digest.hexdigest()[:16]
        return self._revision

    @property
    def backend_id(self) -> str:
        """Everything that tells this backend from another."""
        return hashlib.sha256(self._settings.model_dump_json().encode()).hexdigest()[:12]

    def knows(self, source: LanguageTag, target: LanguageTag) -> bool:
        """What the model's card says; a missing model knows everything, so that its absence is told as such."""
        try:
            return self._read_layout().knows(source, target)
        except ModelMissing:
            return True

    async def translate(
        self, units: Sequence[TextUnit], source: LanguageTag, target: LanguageTag
    ) -> Mapping[UnitId, str]:
        """Translate units in one batch of the model."""
        if not self.knows(source, target):
            raise UnsupportedLanguagePair(str(source), str(target), self.name)
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, self._translate, units, source, target
        )

    @property
    def is_loaded(self) -> bool:
        """Whether the model is in memory."""
        return self._model is not None

    async def unload(self) -> None:
        """Give the memory of the model back."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._unload)

    async def close(self) -> None:
        """Let the thread go."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _translate(
        self, units: Sequence[TextUnit], source: LanguageTag, target: LanguageTag
    ) -> Mapping[UnitId, str]:
        layout = self._read_layout()
        self._load()
        try:
            request = [
                layout.asks(self._pieces.encode(unit.text, out_type=str), source, target) for unit in units
            ]
            answers = self._model.translate_batch(
                [tokens for tokens, _ in request],
                target_prefix=[prefix for _, prefix in request] if request and request[0][1] else None,
                beam_size=BEAM_SIZE,
                max_batch_size=32,
                max_decoding_length=layout.max_tokens,
            )
        except (MemoryError, RuntimeError) as error:
            raise _translated(self.name, error) from error
        return {
            unit.id: text
            for unit, answer in zip(units, answers, strict=True)
            if (text := self._pieces.decode(layout.answer(answer.hypotheses[0])).strip())
        }

    def _load(self) -> None:
        if self._model is not None:
            return
        for name in NEEDED_FILES:
            self._checked(name)
        import ctranslate2
        import sentencepiece

        try:
            self._pieces = sentencepiece.SentencePieceProcessor(
                model_file=str(self._directory / "sentencepiece.model")
            )
            self._model = ctranslate2.Translator(
                str(self._directory), device="auto", intra_threads=self._threads
            )
        except (RuntimeError, OSError, ValueError) as error:
            raise ModelMissing(
                self._settings.model,
                f"{self._directory} cannot be loaded ({str(error).splitlines()[0][:200]})",
            ) from error

    def _unload(self) -> None:
        if self._model is not None:
            self._model.unload_model()
        self._model = self._pieces = None
        gc.collect()

    def _read_layout(self) -> Layout:
        if self._layout is None:
            self._checked("model.bin")
            changed_at = self._directory.stat().st_mtime_ns
            if self._no_layout is not None and self._no_layout[0] == changed_at:
                raise self._no_layout[1]
            try:
                self._layout = read_layout(self._directory, self._settings.layout)
            except ModelMissing as error:
                self._no_layout = (changed_at, error)
                raise
        return self._layout

    def _checked(self, name: str) -> Path:
        path = self._directory / name
        if not path.is_file():
            raise ModelMissing(
                self._settings.model,
                f"{path} is not there; a local translation model is a CTranslate2 directory with {', '.join(NEEDED_FILES)}",
            )
        return path


def _translated(name: str, error: BaseException) -> JobError:
    if isinstance(error, MemoryError) or "alloc" in str(error).lower() or "memory" in str(error).lower():
        return OutOfMemory(f"{name} needed more memory than there is: choose a smaller model")
    return ReplyUnusable(f"{name} failed on a batch ({str(error).splitlines()[0][:200]})")
