"""Translation by a CTranslate2 model in this process, with SentencePiece tokens."""

import asyncio
import gc
import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
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
MAX_BATCH_SENTENCES = 32
"""Sentences that the model translates at once; bounds the memory in use."""

NEEDED_FILES = ("model.bin", "config.json", "sentencepiece.model")
_HASH_CHUNK_BYTES = 2**20
_MAX_DETAIL_CHARS = 200


@dataclass(frozen=True, slots=True)
class _LayoutFailure:
    """Failure to read a layout, which stays valid until the directory changes."""

    directory_changed_ns: int
    error: ModelMissing


class LocalTranslator:
    """Translator with one model, which is loaded with the first batch, and one thread of its own."""

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
        self._tokenizer: Any = None
        self._layout: Layout | None = None
        self._layout_failure: _LayoutFailure | None = None
        """Kept because deriving a layout may read a large vocabulary."""
        self._revision: str | None = None
        self._thread = ThreadPoolExecutor(
            max_workers=1, thread_name_prefix="translate", initializer=lower_thread_priority
        )

    @property
    def name(self) -> str:
        """Return `local` and the name of the model directory."""
        return f"local {'miniature' if self._settings.model == 'miniature' else self._directory.name}"

    @property
    def revision(self) -> str:
        """Return a hash of the model file; computed once, and blocking then."""
        if self._revision is None:
            digest = hashlib.sha256()
            with self._model_file("model.bin").open("rb") as file:
                while chunk := file.read(_HASH_CHUNK_BYTES):
                    digest.update(chunk)
            self._revision = digest.hexdigest()[:16]
        return self._revision

    @property
    def backend_id(self) -> str:
        """Return a hash of all settings of the backend."""
        return hashlib.sha256(self._settings.model_dump_json().encode()).hexdigest()[:12]

    def knows(self, source: LanguageTag, target: LanguageTag) -> bool:
        """Return True if the layout has the pair; also without a model, so that `translate` reports that."""
        try:
            return self._read_layout().knows(source, target)
        except ModelMissing:
            return True

    async def translate(
        self, units: Sequence[TextUnit], source: LanguageTag, target: LanguageTag
    ) -> Mapping[UnitId, str]:
        """Translate a batch on the thread of the model; an empty translation is left out."""
        if not self.knows(source, target):
            raise UnsupportedLanguagePair(str(source), str(target), self.name)
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, self._translate, units, source, target
        )

    @property
    def is_loaded(self) -> bool:
        """Return True if the model is in memory."""
        return self._model is not None

    async def unload(self) -> None:
        """Free the memory of the model after the batch that is running."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._unload)

    async def close(self) -> None:
        """Release the thread; a batch that is running ends in the background."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _translate(
        self, units: Sequence[TextUnit], source: LanguageTag, target: LanguageTag
    ) -> Mapping[UnitId, str]:
        layout = self._read_layout()
        self._load()
        target_prefix = layout.target_prefix(target)
        try:
            results = self._model.translate_batch(
                [
                    layout.source_tokens(self._tokenizer.encode(unit.text, out_type=str), source, target)
                    for unit in units
                ],
                target_prefix=[target_prefix] * len(units) if units and target_prefix else None,
                beam_size=BEAM_SIZE,
                max_batch_size=MAX_BATCH_SENTENCES,
                max_decoding_length=layout.max_tokens,
            )
        except (MemoryError, RuntimeError) as error:
            raise as_domain_error(self.name, error) from error
        translations = {}
        for unit, result in zip(units, results, strict=True):
            text = self._tokenizer.decode(layout.remove_control_tokens(result.hypotheses[0])).strip()
            if text:
                translations[unit.id] = text
        return translations

    def _load(self) -> None:
        if self._model is not None:
            return
        for name in NEEDED_FILES:
            self._model_file(name)
        import ctranslate2
        import sentencepiece

        try:
            self._tokenizer = sentencepiece.SentencePieceProcessor(
                model_file=str(self._directory / "sentencepiece.model")
            )
            self._model = ctranslate2.Translator(
                str(self._directory), device="auto", intra_threads=self._threads
            )
        except (RuntimeError, OSError, ValueError) as error:
            raise ModelMissing(
                self._settings.model, f"{self._directory} cannot be loaded ({_first_line(error)})"
            ) from error

    def _unload(self) -> None:
        if self._model is not None:
            self._model.unload_model()
        self._model = self._tokenizer = None
        gc.collect()

    def _read_layout(self) -> Layout:
        if self._layout is None:
            self._model_file("model.bin")
            changed_ns = self._directory.stat().st_mtime_ns
            if self._layout_failure is not None and self._layout_failure.directory_changed_ns == changed_ns:
                raise self._layout_failure.error
            try:
                self._layout = read_layout(self._directory, self._settings.layout)
            except ModelMissing as error:
                self._layout_failure = _LayoutFailure(changed_ns, error)
                raise
        return self._layout

    def _model_file(self, name: str) -> Path:
        """Return the path of a file of the model.

        Raises:
            ModelMissing: The file does not exist.
        """
        path = self._directory / name
        if not path.is_file():
            raise ModelMissing(
                self._settings.model,
                f"{path} does not exist. A local translation model is a CTranslate2 directory with "
                f"{', '.join(NEEDED_FILES)}.",
            )
        return path


def as_domain_error(name: str, error: BaseException) -> JobError:
    """Return the domain error for an error of CTranslate2."""
    message = str(error).lower()
    if isinstance(error, MemoryError) or "alloc" in message or "memory" in message:
        return OutOfMemory(f"{name} needs more memory than there is. Choose a smaller model.")
    return ReplyUnusable(f"{name} failed on a batch ({_first_line(error)})")


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:_MAX_DETAIL_CHARS]
