"""The recogniser with the miniature model: used and unloaded from several threads."""

import asyncio

import numpy as np
from fluxcaption.domain.media import MediaLocation
from fluxcaption.domain.units import Ms, UnitId
from fluxcaption.domain.work import Sound, WorkKind, WorkUnit
from fluxcaption.executor.threads import MemoryBlocks
from fluxcaption.media.files import MediaFiles
from fluxcaption.miniatures import SPEECH
from fluxcaption.settings import LocalSpeech
from fluxcaption.speech.whisper import WhisperRecognizer

from tests.behaviour.household import DEMO, HEARD


async def test_a_window_in_hand_is_heard_to_its_end_though_somebody_unloads_the_model() -> None:
    blocks = MemoryBlocks()
    recognizer = WhisperRecognizer(LocalSpeech(model="miniature"), blocks, 1, SPEECH)
    parts = [samples for _, samples in MediaFiles().blocks(MediaLocation(str(DEMO / HEARD / f"{HEARD}.mkv")), 0, Ms(0), Ms(15_000))]
    sound = np.concatenate(parts)
    unit = WorkUnit(UnitId("u"), WorkKind.HEAR, 1, "en", "m", "s", Sound(blocks.put(sound), 0, len(sound), Ms(0)))
    hearing = [asyncio.create_task(asyncio.to_thread(recognizer.hear, unit)) for _ in range(6)]
    while not all(task.done() for task in hearing):
        await asyncio.to_thread(recognizer.unload)
    assert len({tuple(segment.text for segment in task.result().segments) for task in hearing}) == 1
    await asyncio.to_thread(recognizer.unload)
    assert not recognizer.is_loaded
