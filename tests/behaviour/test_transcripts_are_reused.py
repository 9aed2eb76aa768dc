"""A transcript belongs to the sound: it is reused for new ids, paths, containers and targets."""

import asyncio
import sqlite3
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from fluxcaption.daemon import run_once
from fluxcaption.domain.errors import ReplyUnusable
from fluxcaption.domain.jobs import JobState
from fluxcaption.engines import build_transcriber
from fluxcaption.ports.executor import Executor, UnitResult, WorkKind, WorkUnit
from fluxcaption.ports.media import MediaLocation

from tests.fakes.clock import FastClock
from tests.fakes.jellyfin import KEY, FakeJellyfin, audio, film
from tests.fakes.media import RATE, repeated, sound_clip
from tests.support.app import (
    DEMO,
    SPEECH_FILM,
    TEXT_FILM,
    clip,
    jellyfin,
    settings,
    total_transcribed_ms,
    windows_transcribed,
)
from tests.support.libraries import add_demo_film, connected_app, uploads
from tests.support.waiting import wait_until

CLIP = DEMO / SPEECH_FILM / f"{SPEECH_FILM}.mkv"

MAX_REPEATED_MS = 28_500
"""Length of the window that a killed process had transcribed, but not stored."""


def count_stored_windows(state: Path) -> int:
    """Return the number of stored windows; 0 before the database exists."""
    try:
        with closing(sqlite3.connect(f"file:{state / 'fluxcaption.sqlite3'}?mode=ro", uri=True)) as database:
            count: int = database.execute("SELECT count(*) FROM windows").fetchone()[0]
    except sqlite3.Error:
        return 0
    return count


async def test_moved_file_with_a_new_id_is_not_transcribed_again(tmp_path: Path) -> None:
    state = tmp_path / "state"
    async with FakeJellyfin() as fake:
        config = settings(state, jellyfin(fake), ["es"])
        add_demo_film(fake, tmp_path / "a", SPEECH_FILM, [audio()], "Before (2020)")
        await run_once(config, print, clock=FastClock())
        windows = await windows_transcribed(state)
        fake.items.clear()
        add_demo_film(fake, tmp_path / "b", SPEECH_FILM, [audio()], "After (2020)")
        report = await run_once(config, print, clock=FastClock())
        assert [job.state for job in report.finished] == [JobState.DONE]
        assert await windows_transcribed(state) == windows
        transcribed_ms, stored_ms = total_transcribed_ms(state)
        assert transcribed_ms == stored_ms


async def test_remuxed_file_is_recognized_by_its_sound(tmp_path: Path) -> None:
    state, media = tmp_path / "state", tmp_path / "media"
    config = settings(state, {"type": "folder", "path": str(media)}, ["en"])
    repeated(CLIP, media / "One (2020)" / "One (2020).mkv", 2)
    await run_once(config, print)
    windows = await windows_transcribed(state)
    assert windows > 2
    (media / "One (2020)" / "One (2020).mkv").unlink()
    repeated(CLIP, media / "Two (2020)" / "Two (2020).webm", 2)
    report = await run_once(config, print)
    assert [job.state for job in report.finished] == [JobState.DONE]
    assert await windows_transcribed(state) == windows
    first, second = (
        next(media.rglob(f"{name}.fluxcaption.en.srt")).read_text(encoding="utf-8")
        for name in ("One (2020)", "Two (2020)")
    )
    assert first == second


async def test_another_film_of_the_same_length_is_transcribed(tmp_path: Path) -> None:
    state, media = tmp_path / "state", tmp_path / "media"
    config = settings(state, {"type": "folder", "path": str(media)}, ["en"])
    clip(media, SPEECH_FILM)
    await run_once(config, print)
    windows = await windows_transcribed(state)
    repeated(DEMO / TEXT_FILM / f"{TEXT_FILM}.mkv", media / "Other (2020)" / "Other (2020).mkv", 1)
    await run_once(config, print)
    assert await windows_transcribed(state) > windows


async def test_added_target_reuses_the_stored_transcript(tmp_path: Path) -> None:
    state, media = tmp_path / "state", tmp_path / "media"
    folder = {"type": "folder", "path": str(media)}
    clip(media, SPEECH_FILM)
    await run_once(settings(state, folder, ["en", "es"]), print)
    before = total_transcribed_ms(state)
    report = await run_once(settings(state, folder, ["en", "es", "de"]), print)
    assert [str(job.target) for job in report.finished] == ["de"]
    assert total_transcribed_ms(state) == before


async def test_film_without_speech_is_skipped_and_not_planned_again(tmp_path: Path) -> None:
    media = tmp_path / "media"
    time_s = np.arange(20 * RATE) / RATE
    tone = (0.1 * np.sin(2 * np.pi * 440 * time_s)).astype(np.float32)
    sound_clip(media / "Tone (2020)" / "Tone (2020).mkv", [("eng", tone)])
    config = settings(tmp_path / "state", {"type": "folder", "path": str(media)}, ["es", "en"])
    report = await run_once(config, print)
    assert [job.state for job in report.finished] == [JobState.SKIPPED, JobState.SKIPPED]
    assert "contains no speech" in report.finished[0].reason
    assert report.exit_code == 0
    assert (await run_once(config, print)).finished == []
    (media / "Tone (2020)").rename(media / "Moved (2020)")
    report_after_move = await run_once(config, print)
    assert {job.reason_code for job in report_after_move.finished} <= {"no-speech", "skipped"}
    assert not list(media.rglob("*.srt"))


@pytest.mark.parametrize("windows_before_kill", [1, 4])
async def test_transcription_resumes_at_the_next_window_after_kill_9(
    windows_before_kill: int, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    async with FakeJellyfin() as fake:
        file = repeated(CLIP, tmp_path / "media" / "Long (2020)" / "Long (2020).mkv", 9)
        fake.add(film("Long (2020)", [audio()], library=fake.libraries[0].id, file=file, minutes=10.5))
        config = tmp_path / "config.yaml"
        config.write_text(
            yaml.safe_dump(
                {
                    "server": {"type": "jellyfin", "url": fake.url, "api_key": KEY},
                    "languages": {"targets": ["es"]},
                    "backlog": {"mode": "all"},
                    "asr": {"backends": [{"type": "local", "model": "miniature"}]},
                    "translation": {"backends": [{"type": "local", "model": "miniature"}]},
                    "limits": {"disk_free": "0B"},
                    "state": str(state),
                }
            ),
            encoding="utf-8",
        )
        command = [sys.executable, "-m", "fluxcaption", "run", "--config", str(config), "--once"]
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        await wait_until(lambda: count_stored_windows(state) >= windows_before_kill, timeout_s=60)
        process.kill()
        await process.wait()
        stored_before = count_stored_windows(state)

        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        _, errors = await asyncio.wait_for(process.communicate(), 100)
        assert process.returncode == 0, errors
        assert windows_before_kill <= stored_before < count_stored_windows(state)
        transcribed_ms, stored_ms = total_transcribed_ms(state)
        assert 0 <= transcribed_ms - stored_ms <= MAX_REPEATED_MS
        assert len(uploads(fake)) == 1


class ExecutorWithLateResult:
    """Answers the first window with the result of an earlier attempt."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._is_first = True

    async def run(self, unit: WorkUnit) -> UnitResult:
        result = await self._executor.run(unit)
        if unit.kind is WorkKind.TRANSCRIBE and self._is_first:
            self._is_first = False
            return replace(result, attempt=unit.attempt - 1)
        return result

    async def close(self) -> None:
        await self._executor.close()


async def test_result_of_an_earlier_attempt_is_rejected_and_transcribed_again(tmp_path: Path) -> None:
    state = tmp_path / "state"
    async with FakeJellyfin() as fake, connected_app(fake, state, FastClock()) as app:
        location = MediaLocation(str(CLIP))
        duration, (track, *_), _ = app.engines.media.probe(location)
        identity = app.engines.media.identify(location, duration)
        executor = ExecutorWithLateResult(app.engines.executor)
        engines = replace(app.engines, executor=executor)  # type: ignore[arg-type]
        transcriber = build_transcriber(engines, app.storage)
        with pytest.raises(ReplyUnusable):
            await transcriber.transcribe(location, track, identity, 1)
        assert await windows_transcribed(state) == 0
        transcript = await transcriber.transcribe(location, track, identity, 2)
        assert transcript.windows_transcribed == await windows_transcribed(state) > 0
