"""Models are unloaded after an idle time, and their memory returns to the system."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from fluxcaption.domain.jobs import JobState

from tests.fakes.clock import SimulatedClock
from tests.support.app import SPEECH_FILM, TEXT_FILM, clip, settings
from tests.support.daemon import app_of, jobs_of, running_daemon

PRINT_MB_THAT_UNLOADING_RETURNS = """
import asyncio
import numpy
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.units import UnitId
from fluxcaption.domain.cues import TextUnit
from fluxcaption.malloc import keep_memory_tight, trim_memory
from fluxcaption.settings import LocalSpeech, LocalTranslation
from fluxcaption.engines import build_engines

def rss_mb():
    with open("/proc/self/status") as status:
        resident = next(line for line in status if line.startswith("VmRSS"))
    return int(resident.split()[1]) // 1024

async def main():
    engines = build_engines(
        LocalSpeech(type="local", model="miniature"),
        [LocalTranslation(type="local", model="miniature")],
        threads=1,
        jobs=1,
        nice=0,
    )
    engines.text_language.detect("This is a text of more than forty letters, which is written in English.")
    sentence = TextUnit(UnitId("1"), "The man opens the door.")
    await engines.translators[0].translate([sentence], LanguageTag("en"), LanguageTag("es"))
    engines.detector.speech(numpy.zeros(16_000 * 60, dtype=numpy.float32))
    loaded_mb = rss_mb()
    assert engines.is_loaded
    await engines.unload()
    trim_memory()
    assert not engines.is_loaded
    print(loaded_mb - rss_mb())
    await engines.close()

keep_memory_tight()
asyncio.run(main())
"""


@pytest.mark.parametrize("title", [TEXT_FILM, SPEECH_FILM], ids=["only translated", "transcribed"])
async def test_all_models_are_unloaded_after_idle_time(title: str, tmp_path: Path) -> None:
    clip(tmp_path / "media", title)
    config = settings(tmp_path / "state", {"type": "folder", "path": str(tmp_path / "media")}, ["es"])
    clock = SimulatedClock()
    async with running_daemon(config, clock) as daemon:

        async def job_is_done() -> bool:
            return [job.state for job in await jobs_of(daemon)] == [JobState.DONE]

        await clock.run_until(job_is_done)
        engines = app_of(daemon).engines
        assert engines.is_loaded
        assert engines.recognizer.is_loaded == (title == SPEECH_FILM)
        await clock.run_for(timedelta(minutes=4))
        assert engines.is_loaded, "the models stay loaded for a job that follows soon"
        await clock.run_for(timedelta(minutes=2))
        await clock.run_until(lambda: not engines.is_loaded)


def test_memory_of_detection_and_translation_returns_to_the_system() -> None:
    process = subprocess.run(
        [sys.executable, "-c", PRINT_MB_THAT_UNLOADING_RETURNS],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert int(process.stdout) >= 60
