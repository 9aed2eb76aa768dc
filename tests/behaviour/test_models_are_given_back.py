"""Whatever work loaded a model, its memory goes back to the system when nothing was worked at for a while."""

import asyncio
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from fluxcaption.daemon import Daemon
from fluxcaption.domain.jobs import JobState

from tests.fakes.clock import SimulatedClock
from tests.support.app import HEARD, READ, clip, settings

USE_ALL_BUT_THE_RECOGNIZER = """
import asyncio
import numpy
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.units import UnitId
from fluxcaption.domain.cues import TextUnit
from fluxcaption.malloc import keep_memory_tight, trim_memory
from fluxcaption.settings import LocalSpeech, LocalTranslation
from fluxcaption.engines import build_engines

def rss_mb():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1]) // 1024

async def main():
    engines = build_engines(
        LocalSpeech(type="local", model="miniature"), [LocalTranslation(type="local", model="miniature")], threads=1, jobs=1, nice=0
    )
    engines.text_language.detect("This is a text of more than forty letters, which is written in English.")
    await engines.translators[0].translate([TextUnit(UnitId("1"), "The man opens the door.")], LanguageTag("en"), LanguageTag("es"))
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


@pytest.mark.parametrize("title", [READ, HEARD], ids=["only translated", "heard"])
async def test_all_models_are_unloaded_after_idle_time(title: str, tmp_path: Path) -> None:
    clip(tmp_path / "media", title)
    wanted = settings(tmp_path / "state", {"type": "folder", "path": str(tmp_path / "media")}, ["es"])
    clock = SimulatedClock()
    daemon = Daemon(wanted, clock=clock)
    task = asyncio.create_task(daemon.run())
    async with asyncio.timeout(60):
        while (
            daemon.app is None
            or not (jobs := await daemon.app.storage.jobs.page())
            or jobs[0].state is not JobState.DONE
        ):
            await clock.run_for(timedelta(seconds=1))
        engines = daemon.app.engines
        assert engines.is_loaded
        assert engines.recognizer.is_loaded == (title == HEARD)
        await clock.run_for(timedelta(minutes=4))
        assert engines.is_loaded, "the next job is spared the loading"
        await clock.run_for(timedelta(minutes=2))
        while engines.is_loaded:
            await clock.run_for(timedelta(seconds=1))
        daemon.stop()
        await task


def test_the_memory_of_what_only_reads_and_translates_returns_to_the_system() -> None:
    made = subprocess.run(
        [sys.executable, "-c", USE_ALL_BUT_THE_RECOGNIZER],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    assert int(made.stdout) >= 60
