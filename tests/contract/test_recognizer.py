"""The recogniser with the miniature model: used and unloaded from several threads."""

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

from tests.support.app import DEMO, HEARD


class Held:
    """A loaded model that begins a window only when it is told to."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.began, self.go_on = threading.Event(), threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def transcribe(self, *arguments: Any, **more: Any) -> Any:
        self.began.set()
        self.go_on.wait()
        return self._model.transcribe(*arguments, **more)


async def test_a_window_in_hand_is_heard_to_its_end_though_somebody_unloads_the_model() -> None:
    blocks = MemoryBlocks()
    recognizer = WhisperRecognizer(LocalSpeech(model="miniature"), blocks, 1, SPEECH)
    sound = np.concatenate(
        [
            samples
            for _, samples in MediaFiles().blocks(
                MediaLocation(str(DEMO / HEARD / f"{HEARD}.mkv")), 0, Ms(0), Ms(15_000)
            )
        ]
    )
    unit = WorkUnit(
        UnitId("u"), WorkKind.TRANSCRIBE, 1, "en", "m", "s", Sound(blocks.put(sound), 0, len(sound), Ms(0))
    )
    undisturbed = await asyncio.to_thread(recognizer.transcribe, unit)
    assert undisturbed.segments
    held = recognizer._model = Held(recognizer._model)
    hearing = asyncio.create_task(asyncio.to_thread(recognizer.transcribe, unit))
    await asyncio.to_thread(held.began.wait)
    unloading = asyncio.create_task(asyncio.to_thread(recognizer.unload))
    await asyncio.wait({unloading}, timeout=0.2)
    held.go_on.set()
    assert (await hearing).segments == undisturbed.segments
    await unloading
    assert not recognizer.is_loaded
    assert (await asyncio.to_thread(recognizer.transcribe, unit)).segments == undisturbed.segments
    await asyncio.to_thread(recognizer.unload)
