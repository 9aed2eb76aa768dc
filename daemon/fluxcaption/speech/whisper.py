"""Speech recognition and voice activity detection by faster-whisper.

The library receives NumPy windows from our own decoder. Given a path, it decodes the whole file at once, and
fails with newer versions of PyAV.
"""

import gc
import hashlib
import json
import math
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
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
"""Files of a model directory. Without tokenizer.json the library downloads one."""

SETTINGS_VERSION = "1"
"""Part of the transcript key; increment it when the decoding options change."""

BEAM_SIZE = 5
"""Default of `WhisperModel.transcribe` in faster-whisper and of the reference implementation."""

VAD_THRESHOLD = 0.5
"""Probability from which a chunk is speech; default of `VadOptions` in faster-whisper's `vad.py`."""

VAD_MIN_SILENCE_MS = 160
VAD_MIN_SPEECH_MS = 100
WHISPER_LANGUAGE_CODES = {"jv": "jw", "fil": "tl", "nb": "no"}
"""BCP 47 tags with another code in Whisper. Source: `LANGUAGES` in openai/whisper, `whisper/tokenizer.py`."""

_HASH_CHUNK_BYTES = 2**20
_OUT_OF_MEMORY_PHRASES = ("out of memory", "bad_alloc", "failed to allocate", "cannot allocate")
_MAX_DETAIL_CHARS = 200


class SileroDetector:
    """VoiceDetector by the Silero model that faster-whisper contains."""

    def __init__(self, threshold: float = VAD_THRESHOLD) -> None:
        self._threshold = threshold
        self._is_loaded = False

    def speech(self, samples: Samples) -> Sequence[Span]:
        """Return the spans with speech in ms from the start of `samples`, in order, not overlapping."""
        from faster_whisper.vad import VadOptions, get_speech_timestamps

        options = VadOptions(
            threshold=self._threshold,
            min_silence_duration_ms=VAD_MIN_SILENCE_MS,
            speech_pad_ms=0,
            min_speech_duration_ms=VAD_MIN_SPEECH_MS,
        )
        samples_per_ms = SAMPLE_RATE_HZ // 1000
        self._is_loaded = True
        return [
            Span(Ms(span["start"] // samples_per_ms), Ms(span["end"] // samples_per_ms))
            for span in get_speech_timestamps(samples, options)
            if span["end"] - span["start"] >= samples_per_ms
        ]

    @property
    def is_loaded(self) -> bool:
        """Return True if the model is in memory."""
        return self._is_loaded

    def unload(self) -> None:
        """Free the memory of the model, which the library caches for the life of the process."""
        if self._is_loaded:
            from faster_whisper.vad import get_vad_model

            get_vad_model.cache_clear()
            self._is_loaded = False
            gc.collect()


class WhisperRecognizer:
    """Recognizer with one model in this process, which is loaded with the first window.

    Several threads may transcribe at the same time; `unload` waits for them, and they wait for it.
    """

    def __init__(self, settings: LocalSpeech, blocks: BlockStore, threads: int, miniature: Path) -> None:
        self._settings = settings
        self._blocks = blocks
        self._threads = threads
        self._directory = miniature if settings.model == "miniature" else Path(settings.model)
        self._model: Any = None
        self._state_changed = threading.Condition()
        self._windows_in_progress = 0
        self._is_unloading = False
        self._revision: str | None = None

    @property
    def name(self) -> str:
        """Return `whisper` and the name of the model directory."""
        return f"whisper {self._directory.name if self._settings.model != 'miniature' else 'miniature'}"

    @property
    def revision(self) -> str:
        """Return a hash of the model files; computed once, and blocking then."""
        if self._revision is None:
            digest = hashlib.sha256()
            for name in ("config.json", "model.bin"):
                with self._model_file(name).open("rb") as file:
                    while chunk := file.read(_HASH_CHUNK_BYTES):
                        digest.update(chunk)
            self._revision = digest.hexdigest()[:16]
        return self._revision

    @property
    def asr_settings_key(self) -> str:
        """Return a hash of every setting that changes the result."""
        return hashlib.sha256(
            json.dumps([SETTINGS_VERSION, BEAM_SIZE, self._settings.compute_type]).encode()
        ).hexdigest()[:12]

    def transcribe(self, unit: WorkUnit) -> UnitResult:
        """Recognize one window; times are ms from the start of the media source."""
        samples = self._samples_of(unit)
        starts_at = unit.sound.starts_at if unit.sound else Ms(0)
        began_s = time.monotonic()
        try:
            with self._loaded_model() as model:
                found, info = model.transcribe(
                    samples,
                    language=_whisper_code(unit.language, model) if unit.language else None,
                    beam_size=BEAM_SIZE,
                    condition_on_previous_text=False,
                    word_timestamps=False,
                    vad_filter=False,
                )
                # The library recognizes while its segments are iterated.
                segments = _valid_segments(found, starts_at, len(samples) * 1000 // SAMPLE_RATE_HZ)
        except (MemoryError, RuntimeError) as error:
            raise as_domain_error(error) from error
        return UnitResult(
            id=unit.id,
            kind=unit.kind,
            attempt=unit.attempt,
            language=info.language or unit.language,
            model_revision=unit.model_revision,
            asr_settings_key=unit.asr_settings_key,
            segments=segments,
            took_ms=Ms(int((time.monotonic() - began_s) * 1000)),
        )

    def detect_language(self, unit: WorkUnit) -> UnitResult:
        """Detect the spoken language of one window and its probability, 0 to 1."""
        try:
            with self._loaded_model() as model:
                code, probability, _ = model.detect_language(audio=self._samples_of(unit))
        except (MemoryError, RuntimeError) as error:
            raise as_domain_error(error) from error
        return UnitResult(
            id=unit.id,
            kind=unit.kind,
            attempt=unit.attempt,
            language=code,
            model_revision=unit.model_revision,
            asr_settings_key=unit.asr_settings_key,
            language_probability=float(probability),
        )

    def unload(self) -> None:
        """Free the memory of the model; block until the windows that are being recognized are finished."""
        with self._state_changed:
            self._state_changed.wait_for(lambda: not self._is_unloading)
            self._is_unloading = True
            self._state_changed.wait_for(lambda: not self._windows_in_progress)
            if self._model is not None:
                self._model.model.unload_model()
            self._model = None
            self._is_unloading = False
            self._state_changed.notify_all()
        gc.collect()

    @property
    def is_loaded(self) -> bool:
        """Return True if the model is in memory."""
        return self._model is not None

    def _samples_of(self, unit: WorkUnit) -> Samples:
        assert unit.sound is not None
        return self._blocks.get(unit.sound.block)[unit.sound.first_sample : unit.sound.last_sample]

    @contextmanager
    def _loaded_model(self) -> Iterator[Any]:
        """Load the model if necessary and keep it from being unloaded until the end of the context."""
        with self._state_changed:
            self._state_changed.wait_for(lambda: not self._is_unloading)
            if self._model is None:
                self._model = self._load_model()
            model = self._model
            self._windows_in_progress += 1
        try:
            yield model
        finally:
            with self._state_changed:
                self._windows_in_progress -= 1
                self._state_changed.notify_all()

    def _load_model(self) -> Any:
        for name in NEEDED_FILES:
            self._model_file(name)
        from faster_whisper import WhisperModel

        device, compute_type = _device_and_compute_type(self._settings)
        try:
            return WhisperModel(
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
                f"{self._directory} cannot be loaded ({_first_line(error)}). Copy the directory again.",
            ) from error

    def _model_file(self, name: str) -> Path:
        """Return the path of a file of the model.

        Raises:
            ModelMissing: The file does not exist.
        """
        if self._settings.model == "auto":
            raise ModelMissing(
                "auto", "set asr.backends[0].model to the directory of a CTranslate2 Whisper model"
            )
        path = self._directory / name
        if not path.is_file():
            raise ModelMissing(
                self._settings.model,
                f"{path} does not exist. Set asr.backends[0].model to a CTranslate2 Whisper directory with "
                f"{', '.join(NEEDED_FILES)}.",
            )
        return path


def as_domain_error(error: BaseException) -> OutOfMemory | MediaUnreadable:
    """Return the domain error for an error of CTranslate2."""
    if isinstance(error, MemoryError) or any(
        phrase in str(error).lower() for phrase in _OUT_OF_MEMORY_PHRASES
    ):
        return OutOfMemory(
            "the recognizer needs more memory than there is. Choose a smaller model or compute_type int8."
        )
    return MediaUnreadable("a window of the audio", f"the recognizer failed on it ({_first_line(error)})")


def _whisper_code(language: str, model: Any) -> str | None:
    """Return the model's code of a language; None lets the model detect a language it does not know."""
    code = WHISPER_LANGUAGE_CODES.get(language, language)
    return code if code in model.supported_languages else None


def _device_and_compute_type(settings: LocalSpeech) -> tuple[str, str]:
    """Return device and compute type for CTranslate2; `auto` is CUDA if present, and a fast small type."""
    import ctranslate2

    device = settings.device
    if device == "auto":
        device = "cuda" if ctranslate2.get_cuda_device_count() else "cpu"
    if settings.compute_type != "auto":
        return device, settings.compute_type
    supported = ctranslate2.get_supported_compute_types(device)
    preferred = ("float16", "int8_float16", "int8") if device == "cuda" else ("int8",)
    return device, next((compute_type for compute_type in preferred if compute_type in supported), "default")


def _valid_segments(found: Iterable[Any], starts_at: Ms, length_ms: int) -> tuple[RecognizedSegment, ...]:
    """Return the segments with finite times and text, clipped to the window and to the segment before."""
    segments: list[RecognizedSegment] = []
    previous_end = 0
    for segment in found:
        if not (math.isfinite(segment.start) and math.isfinite(segment.end)):
            continue
        start = max(previous_end, int(segment.start * 1000))
        end = min(length_ms, int(segment.end * 1000))
        text = " ".join(segment.text.split())
        if end <= start or not text:
            continue
        # The mean log probability of the tokens; its exponential is their geometric mean probability.
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
        previous_end = end
    return tuple(segments)


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:_MAX_DETAIL_CHARS]
