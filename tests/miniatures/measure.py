"""Quality of the miniature recognizer on sentences that are not in its training data.

Usage: `python -m tests.miniatures.measure`, with libespeak-ng and the extra `train`. The sentences go through the
daemon's segmenter, recognizer and filters. Printed are word error rate and start errors by language, language
detection on single sentences, speed by number of threads, and the word error rate of faster-whisper alone with
word times.
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


def unseen_sentence(language: str, r: random.Random) -> tuple[str, Samples]:
    """Return a sentence that was excluded from the training, and its audio with a random voice."""
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
        text, wave = unseen_sentence(language, r)
        sound[at : at + len(wave)] += wave
        truth.append((at * 1000 // RATE, text))
        at += len(wave) + int(r.uniform(0.3, 1.2) * RATE)
    return sound[:at] + (np.random.default_rng(0).standard_normal(at) * 0.001).astype(np.float32), truth


def transcribe(sound: Samples, language: str, threads: int) -> tuple[list[tuple[int, str]], float]:
    """Return start in ms and text of the segments that the daemon keeps, and the duration in seconds."""
    blocks = MemoryBlocks()
    recognizer = WhisperRecognizer(LocalSpeech(model="miniature"), blocks, threads, SPEECH)
    segmenter = SilenceSegmenter(SileroDetector().speech)
    kept: list[Segment] = []
    detect(recognizer, blocks, sound[: 5 * RATE])
    began = time.perf_counter()
    windows: list[AudioWindow] = []
    for start in range(0, len(sound), BLOCK):
        windows += segmenter.feed(Ms(start * 1000 // RATE), sound[start : start + BLOCK])
    windows += segmenter.finish()
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
    duration_s = time.perf_counter() - began
    recognizer.unload()
    return [(segment.start, segment.text) for segment in drop_repetitions(kept)], duration_s


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
    """Print all figures."""
    for language in ("en", "es"):
        errors = words = errors_with_word_times = 0
        starts: list[int] = []
        for seed in (1, 2, 3):
            sound, truth = monologue(language, seed)
            kept, _ = transcribe(sound, language, 1)
            spoken = [word for _, text in truth for word in words_of(text)]
            errors += word_errors(spoken, [word for _, text in kept for word in words_of(text)])
            errors_with_word_times += word_errors(spoken, words_of(with_word_times(sound, language)))
            words += len(spoken)
            for at, text in truth:
                matching = [
                    start
                    for start, transcribed in kept
                    if words_of(transcribed) == words_of(text) and abs(start - at) < 3000
                ]
                starts += [min(abs(start - at) for start in matching)] if matching else []
        starts.sort()
        print(
            f"{language}: {words} words in 3 monologues of {MONOLOGUE_S} s:"
            f" word error rate {100 * errors / words:.2f} %,"
            f" with word times {100 * errors_with_word_times / words:.2f} %;"
            f" start error median {starts[len(starts) // 2]} ms,"
            f" p95 {starts[int(len(starts) * 0.95)]} ms ({len(starts)} sentences matched)"
        )
    blocks = MemoryBlocks()
    recognizer = WhisperRecognizer(LocalSpeech(model="miniature"), blocks, 1, SPEECH)
    r, correct = random.Random(5), 0
    for number in range(120):
        language = "en" if number % 2 else "es"
        _, wave = unseen_sentence(language, r)
        correct += detect(recognizer, blocks, wave) == language
    print(f"language of single unseen sentences: {correct} of 120 correct")
    sound, _ = monologue("en", 1)
    for threads in (1, 2):
        _, duration_s = transcribe(sound, "en", threads)
        print(
            f"{threads} thread(s): {len(sound) / RATE / duration_s:.0f} × real time, with speech detection and beam size 5"
        )


if __name__ == "__main__":
    main()
