"""Measures the miniature recogniser on sentences it never saw, through the daemon's own path: cutter, recogniser, gates.

Needs libespeak-ng and the extra [train]: `python -m tests.miniatures.measure`. Prints word error rate by language, language detection on single
sentences, start errors, and speed by number of threads; beside it the same with word times by the bare engine.
"""

import importlib
import random
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from fluxcaption.domain.asr_filter import drop_repetitions, snap_to_speech
from fluxcaption.domain.cues import Segment
from fluxcaption.domain.units import Ms, UnitId
from fluxcaption.executor.threads import MemoryBlocks
from fluxcaption.miniatures import SPEECH
from fluxcaption.ports.executor import Sound, WorkKind, WorkUnit
from fluxcaption.settings import LocalSpeech
from fluxcaption.speech.whisper import SileroDetector, WhisperRecognizer
from fluxcaption.speech.windows import AudioWindow, SilenceSegmenter

from tests.support.measuring import word_errors, words_of

RATE = 16_000
BLOCK = 10 * RATE
MONOLOGUE_S = 180
Samples = npt.NDArray[np.float32]


def recipe(name: str) -> Any:
    folder = str(Path(__file__).parent / "recipe")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module(name)


def unseen(language: str, r: random.Random) -> tuple[str, Samples]:
    """A sentence whose text was held out of the training, spoken by a random voice."""
    lexicon, espk = recipe("lexicon"), recipe("espk")
    while True:
        text = lexicon.sentence(r)[{"en": 0, "es": 1}[language]]
        if zlib.crc32(text.encode()) % 10:
            continue
        try:
            wave, _ = espk.synth(
                text, espk.rand_voice(r, language), r.randint(130, 210), r.randint(25, 75), r.randint(30, 70)
            )
        except ValueError:
            continue
        return text, wave * 0.6


def monologue(language: str, seed: int) -> tuple[Samples, list[tuple[int, str]]]:
    r = random.Random(seed)
    sound, truth, at = np.zeros((MONOLOGUE_S + 10) * RATE, dtype=np.float32), [], RATE
    while at < MONOLOGUE_S * RATE:
        text, wave = unseen(language, r)
        sound[at : at + len(wave)] += wave
        truth.append((at * 1000 // RATE, text))
        at += len(wave) + int(r.uniform(0.3, 1.2) * RATE)
    return sound[:at] + (np.random.default_rng(0).standard_normal(at) * 0.001).astype(np.float32), truth


def transcribe(sound: Samples, language: str, threads: int) -> tuple[list[tuple[int, str]], float]:
    """What the daemon would keep, and how long it took."""
    blocks = MemoryBlocks()
    recognizer = WhisperRecognizer(LocalSpeech(model="miniature"), blocks, threads, SPEECH)
    cutter = SilenceSegmenter(SileroDetector().speech)
    kept: list[Segment] = []
    detect(recognizer, blocks, sound[: 5 * RATE])
    began = time.perf_counter()
    windows: list[AudioWindow] = []
    for start in range(0, len(sound), BLOCK):
        windows += cutter.feed(Ms(start * 1000 // RATE), sound[start : start + BLOCK])
    windows += cutter.finish()
    for window in windows:
        block = blocks.put(window.samples)
        unit = WorkUnit(
            UnitId(str(window.start)),
            WorkKind.TRANSCRIBE,
            1,
            language,
            "",
            "",
            Sound(block, 0, len(window.samples), window.start),
        )
        kept += snap_to_speech(recognizer.transcribe(unit).segments, window.speech)
        blocks.drop(block)
    took = time.perf_counter() - began
    recognizer.unload()
    return [(segment.start, segment.text) for segment in drop_repetitions(kept)], took


def detect(recognizer: WhisperRecognizer, blocks: MemoryBlocks, sound: Samples) -> str:
    unit = WorkUnit(
        UnitId("language"),
        WorkKind.DETECT_LANGUAGE,
        1,
        "",
        "",
        "",
        Sound(blocks.put(sound), 0, len(sound), Ms(0)),
    )
    return recognizer.detect_language(unit).language


def with_word_times(sound: Samples, language: str) -> str:
    from faster_whisper import WhisperModel

    model = WhisperModel(str(SPEECH), device="cpu", compute_type="int8", cpu_threads=1)
    segments, _ = model.transcribe(
        sound, language=language, condition_on_previous_text=False, word_timestamps=True
    )
    return " ".join(segment.text for segment in segments)


def main() -> None:
    """Print the table."""
    for language in ("en", "es"):
        errors = words = worded = 0
        starts: list[int] = []
        for seed in (1, 2, 3):
            sound, truth = monologue(language, seed)
            kept, _ = transcribe(sound, language, 1)
            said = [word for _, text in truth for word in words_of(text)]
            errors += word_errors(said, [word for _, text in kept for word in words_of(text)])
            worded += word_errors(said, words_of(with_word_times(sound, language)))
            words += len(said)
            for at, text in truth:
                same = [
                    start
                    for start, heard in kept
                    if words_of(heard) == words_of(text) and abs(start - at) < 3000
                ]
                starts += [min(abs(start - at) for start in same)] if same else []
        starts.sort()
        print(
            f"{language}: {words} words in 3 monologues of {MONOLOGUE_S} s: word error rate {100 * errors / words:.2f} %, with word times {100 * worded / words:.2f} %;"
            f" start error median {starts[len(starts) // 2]} ms, p95 {starts[int(len(starts) * 0.95)]} ms ({len(starts)} sentences matched)"
        )
    blocks = MemoryBlocks()
    recognizer = WhisperRecognizer(LocalSpeech(model="miniature"), blocks, 1, SPEECH)
    r, right = random.Random(5), 0
    for number in range(120):
        language = "en" if number % 2 else "es"
        _, wave = unseen(language, r)
        right += detect(recognizer, blocks, wave) == language
    print(f"language of single unseen sentences: {right} of 120 right")
    sound, _ = monologue("en", 1)
    for threads in (1, 2):
        _, took = transcribe(sound, "en", threads)
        print(f"{threads} thread(s): {len(sound) / RATE / took:.0f} × real time, with speech map and beam 5")


if __name__ == "__main__":
    main()
