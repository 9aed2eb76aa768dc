"""The recognizer with the miniature model: used and unloaded from several threads."""

import asyncio
import threading
from typing import Any

import numpy as np
from fluxcaption.domain.units import Ms, UnitId
from fluxcaption.executor.threads import MemoryBlocks
from fluxcaption.media.files import MediaFiles
from fluxcaption.miniatures import SPEECH
from fluxcaption.ports.executor import Sound, WorkKind, WorkUnit
from fluxcaption.ports.media import MediaLocation
from fluxcaption.settings import LocalSpeech
from fluxcaption.speech.whisper import WhisperRecognizer

from tests.support.app import DEMO, SPEECH_FILM


class PausingModel:
    """A loaded model that pauses at the start of each window.

    Attributes:
        started: Set at the start of a window.
        resume: Set by the test to continue.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self.started, self.resume = threading.Event(), threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def transcribe(self, *arguments: Any, **options: Any) -> Any:
        self.started.set()
        self.resume.wait()
        return self._model.transcribe(*arguments, **options)


async def test_a_window_in_progress_is_finished_before_the_model_is_unloaded() -> None:
    blocks = MemoryBlocks()
    recognizer = WhisperRecognizer(LocalSpeech(model="miniature"), blocks, 1, SPEECH)
    samples = np.concatenate(
        [
            block
            for _, block in MediaFiles().blocks(
                MediaLocation(str(DEMO / SPEECH_FILM / f"{SPEECH_FILM}.mkv")), 0, Ms(0), Ms(15_000)
            )
        ]
    )
    unit = WorkUnit(
        UnitId("u"),
        WorkKind.TRANSCRIBE,
        1,
        "en",
        "m",
        "s",
        Sound(blocks.put(samples), 0, len(samples), Ms(0)),
    )
    undisturbed = await asyncio.to_thread(recognizer.transcribe, unit)
    assert undisturbed.segments
    model = recognizer._model = PausingModel(recognizer._model)
    transcribing = asyncio.create_task(asyncio.to_thread(recognizer.transcribe, unit))
    await asyncio.to_thread(model.started.wait)
    unloading = asyncio.create_task(asyncio.to_thread(recognizer.unload))
    await asyncio.wait({unloading}, timeout=0.2)
    model.resume.set()
    assert (await transcribing).segments == undisturbed.segments
    await unloading
    assert not recognizer.is_loaded
    assert (await asyncio.to_thread(recognizer.transcribe, unit)).segments == undisturbed.segments
    await asyncio.to_thread(recognizer.unload)
