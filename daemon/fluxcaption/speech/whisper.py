"""faster-whisper behind the Recognizer and VoiceDetector ports; its only door.

Everything it is given is a NumPy window of our own decoder: a path would decode the whole film at once, and fails with newer PyAV.
"""

import gc
import hashlib
import json
import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fluxcaption.domain.cues import RecognizedSegment, Span
from fluxcaption.domain.errors import MediaUnreadable, ModelMissing, OutOfMemory
from fluxcaption.domain.units import Ms
from fluxcaption.ports.executor import BlockStore, UnitResult, WorkUnit
from fluxcaption.ports.media import SAMPLE_RATE_HZ, Samples
from fluxcaption.settings import LocalSpeech

NEEDED_FILES = ("model.bin", "config.json", "tokenizer.json")
"""Without tokenizer.json the library would go to the network."""

SETTINGS_VERSION = "1"
BEAM_SIZE = 5
CODES_OF_ITS_OWN = {"jv": "jw", "fil": "tl", "nb": "no"}
"""Our tags that the model spells differently."""

_MEMORY_WORDS = ("out of memory", "bad_alloc", "failed to allocate", "cannot allocate")


class SileroDetector:
    """Where somebody speaks, by the Silero model inside faster-whisper."""

    def __init__(self, threshold: float = 0.5) -> None:
        self._threshold = threshold
        self._is_loaded = False

    def speech(self, samples: Samples) -> Sequence[Span]:
        """Speech spans in ms from the start of `samples`."""
        from faster_whisper.vad import VadOptions, get_speech_timestamps

        options = VadOptions(
            threshold=self._threshold,
            min_silence_duration_ms=160,
            speech_pad_ms=0,
            min_speech_duration_ms=100,
        )
        per_ms = SAMPLE_RATE_HZ // 1000
        self._is_loaded = True
        found = get_speech_timestamps(samples, options)
        return [
            Span(Ms(span["start"] // per_ms), Ms(span["end"] // per_ms))
            for span in found
            if span["end"] - span["start"] >= per_ms
        ]

    @property
    def is_loaded(self) -> bool:
        """Whether the model is in memory."""
        return self._is_loaded

    def unload(self) -> None:
        """Give the memory of the model back, which the library keeps for good."""
        if self._is_loaded:
            from faster_whisper.vad import get_vad_model

            get_vad_model.cache_clear()
            self._is_loaded = False
            gc.collect()


class WhisperRecognizer:
    """One model in this process: loaded with the first window, unloaded when idle."""

    def __init__(self, settings: LocalSpeech, blocks: BlockStore, threads: int, miniature: Path) -> None:
        self._settings = settings
        self._blocks = blocks
        self._threads = threads
        self._directory = miniature if settings.model == "miniature" else Path(settings.model)
        self._model: Any = None
        self._changed = threading.Condition()
        self._windows_in_hand = 0
        self._is_unloading = False
        self._revision: str | None = None

    @property
    def name(self) -> str:
        """The model's directory name."""
        return f"whisper {self._directory.name if self._settings.model != 'miniature' else 'miniature'}"

    @property
    def revision(self) -> str:
        """Hash over the model's files, computed once."""
        if self._revision is None:
            digest = hashlib.sha256()
            for name in ("config.json", "model.bin"):
                with self._checked(name).open("rb") as file:
                    while chunk := file.read(2**20):
                        digest.update(chunk)
            self._revision = digest.hexdigest()[:16]
        return self._revision

    @property
    def asr_settings_key(self) -> str:
        """Everything here that changes what is heard."""
        return hashlib.sha256(
            json.dumps([SETTINGS_VERSION, BEAM_SIZE, self._settings.compute_type]).encode()
        ).hexdigest()[:12]

    def transcribe(self, unit: WorkUnit) -> UnitResult:
        """Recognise one window; times are on the film's clock."""
        samples = self._samples_of(unit)
        starts_at = unit.sound.starts_at if unit.sound else Ms(0)
        began = time.monotonic()
        try:
            with self._in_use() as model:
                found, info = model.transcribe(
                    samples,
                    language=_code(unit.language, model) if unit.language else None,
                    beam_size=BEAM_SIZE,
                    condition_on_previous_text=False,
                    word_timestamps=False,
                    vad_filter=False,
                )
                length_ms = len(samples) * 1000 // SAMPLE_RATE_HZ
                segments = _sane(found, starts_at, length_ms)
        except (MemoryError, RuntimeError) as error:
            raise _translated(error) from error
        return UnitResult(
            id=unit.id,
            kind=unit.kind,
            attempt=unit.attempt,
            language=info.language or unit.language,
            model_revision=unit.model_revision,
            asr_settings_key=unit.asr_settings_key,
            segments=segments,
            took_ms=Ms(int((time.monotonic() - began) * 1000)),
        )

    def detect_language(self, unit: WorkUnit) -> UnitResult:
        """What is spoken in a window, and how sure that is."""
        try:
            with self._in_use() as model:
                code, sureness, _ = model.detect_language(audio=self._samples_of(unit))
        except (MemoryError, RuntimeError) as error:
            raise _translated(error) from error
        return UnitResult(
            unit.id,
            unit.kind,
            unit.attempt,
            code,
            unit.model_revision,
            unit.asr_settings_key,
            sureness=float(sureness),
        )

    def unload(self) -> None:
        """Give the memory of the model back to the system, once the windows in hand are heard; the next ones wait for that."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_unloading)
            self._is_unloading = True
            self._changed.wait_for(lambda: not self._windows_in_hand)
            if self._model is not None:
                self._model.model.unload_model()
            self._model = None
            self._is_unloading = False
            self._changed.notify_all()
        gc.collect()

    @property
    def is_loaded(self) -> bool:
        """Whether the model is in memory."""
        return self._model is not None

    def _samples_of(self, unit: WorkUnit) -> Samples:
        assert unit.sound is not None
        return self._blocks.get(unit.sound.block)[unit.sound.first_sample : unit.sound.last_sample]

    @contextmanager
    def _in_use(self) -> Iterator[Any]:
        """The model, loaded, and kept so until the end."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_unloading)
            model = self._loaded()
            self._windows_in_hand += 1
        try:
            yield model
        finally:
            with self._changed:
                self._windows_in_hand -= 1
                self._changed.notify_all()

    def _loaded(self) -> Any:
        if self._model is None:
            for name in NEEDED_FILES:
                self._checked(name)
            from faster_whisper import WhisperModel

            device, compute_type = _device_and_type(self._settings)
            try:
                self._model = WhisperModel(
                    str(self._directory),
                    device=device,
                    compute_type=compute_type,
                    cpu_threads=self._threads,
                    local_files_only=True,
                )
            except MemoryError:
                raise
            except Exception as error:
                # A damaged tokenizer raises a bare Exception.
                raise ModelMissing(
                    self._settings.model,
                    f"{self._directory} cannot be loaded ({_first_line(error)}): copy the directory again",
                ) from error
        return self._model

    def _checked(self, name: str) -> Path:
        if self._settings.model == "auto":
            raise ModelMissing(
                "auto", "set asr.backends[0].model to the directory of a CTranslate2 Whisper model"
            )
        path = self._directory / name
        if not path.is_file():
            raise ModelMissing(
                self._settings.model,
                f"{path} is not there; asr.backends[0].model must be a CTranslate2 Whisper directory with {', '.join(NEEDED_FILES)}",
            )
        return path


def _code(language: str, model: Any) -> str | None:
    code = CODES_OF_ITS_OWN.get(language, language)
    return code if code in model.supported_languages else None


def _device_and_type(settings: LocalSpeech) -> tuple[str, str]:
    """Where and how to compute: a CUDA card if there is one, with the smallest type that each is quick at."""
    import ctranslate2

    device = settings.device
    if device == "auto":
        device = "cuda" if ctranslate2.get_cuda_device_count() else "cpu"
    if settings.compute_type != "auto":
        return device, settings.compute_type
    supported = ctranslate2.get_supported_compute_types(device)
    wanted = ("float16", "int8_float16", "int8") if device == "cuda" else ("int8",)
    return device, next((kind for kind in wanted if kind in supported), "default")


def _sane(found: Any, starts_at: Ms, length_ms: int) -> tuple[RecognizedSegment, ...]:
    """Only segments with real times, in order, inside the window."""
    segments: list[RecognizedSegment] = []
    last_ms = 0
    for segment in found:
        if not (math.isfinite(segment.start) and math.isfinite(segment.end)):
            continue
        start = max(last_ms, int(segment.start * 1000))
        end = min(length_ms, int(segment.end * 1000))
        text = " ".join(segment.text.split())
        if end <= start or not text:
            continue
        confidence = math.exp(segment.avg_logprob) if math.isfinite(segment.avg_logprob) else 0.0
        segments.append(
            RecognizedSegment(
                Ms(starts_at + start),
                Ms(starts_at + end),
                text,
                min(1.0, confidence),
                float(segment.no_speech_prob),
            )
        )
        last_ms = end
    return tuple(segments)


def _translated(error: BaseException) -> OutOfMemory | MediaUnreadable:
    if isinstance(error, MemoryError) or any(word in str(error).lower() for word in _MEMORY_WORDS):
        return OutOfMemory(
            "the recogniser needed more memory than there is: choose a smaller model or compute_type int8"
        )
    return MediaUnreadable("a window of the sound", f"the recogniser failed on it ({_first_line(error)})")


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
