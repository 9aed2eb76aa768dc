"""A transcript belongs to the sound: it outlives processes, ids, paths, containers and lists of targets."""

import asyncio
import sqlite3
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

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
from tests.fakes.media import repeated
from tests.support.app import DEMO, HEARD, clip, heard_ms, jellyfin, settings, windows_transcribed
from tests.support.libraries import app_beside

CLIP = DEMO / HEARD / f"{HEARD}.mkv"


def windows_saved(state: Path) -> int:
    try:
        with closing(sqlite3.connect(f"file:{state / 'fluxcaption.sqlite3'}?mode=ro", uri=True)) as database:
            count: int = database.execute("SELECT count(*) FROM windows").fetchone()[0]
    except sqlite3.Error:
        return 0
    return count


async def test_a_moved_file_with_a_new_id_is_not_heard_again(tmp_path: Path) -> None:
    state = tmp_path / "state"
    async with FakeJellyfin() as fake:
        fake.add(
            film(
                "Before (2020)",
                [audio()],
                library=fake.libraries[0].id,
                file=clip(tmp_path / "a", HEARD, "Before (2020)"),
                minutes=70 / 60,
            )
        )
        await run_once(settings(state, jellyfin(fake), ["es"]), print, clock=FastClock())
        first = await windows_transcribed(state)
        fake.items.clear()
        fake.add(
            film(
                "After (2020)",
                [audio()],
                library=fake.libraries[0].id,
                file=clip(tmp_path / "b", HEARD, "After (2020)"),
                minutes=70 / 60,
            )
        )
        report = await run_once(settings(state, jellyfin(fake), ["es"]), print, clock=FastClock())
        assert [job.state for job in report.finished] == [JobState.DONE]
        assert await windows_transcribed(state) == first
        heard, saved = heard_ms(state)
        assert heard == saved


async def test_a_remuxed_file_is_known_by_its_sound(tmp_path: Path) -> None:
    state, media = tmp_path / "state", tmp_path / "media"
    folder = {"type": "folder", "path": str(media)}
    repeated(CLIP, media / "One (2020)" / "One (2020).mkv", 2)
    await run_once(settings(state, folder, ["en"]), print)
    first = await windows_transcribed(state)
    assert first > 2
    (media / "One (2020)" / "One (2020).mkv").unlink()
    repeated(CLIP, media / "Two (2020)" / "Two (2020).webm", 2)
    report = await run_once(settings(state, folder, ["en"]), print)
    assert [job.state for job in report.finished] == [JobState.DONE]
    assert await windows_transcribed(state) == first
    one, two = (
        next(media.rglob(f"{name}.fluxcaption.en.srt")).read_text(encoding="utf-8")
        for name in ("One (2020)", "Two (2020)")
    )
    assert one == two


async def test_another_film_of_the_same_length_is_heard(tmp_path: Path) -> None:
    state, media = tmp_path / "state", tmp_path / "media"
    folder = {"type": "folder", "path": str(media)}
    clip(media, HEARD)
    await run_once(settings(state, folder, ["en"]), print)
    first = await windows_transcribed(state)
    other = DEMO / "The Blue House (2026)" / "The Blue House (2026).mkv"
    repeated(other, media / "Other (2020)" / "Other (2020).mkv", 1)
    await run_once(settings(state, folder, ["en"]), print)
    assert await windows_transcribed(state) > first


async def test_an_added_target_is_made_from_what_was_heard(tmp_path: Path) -> None:
    state, media = tmp_path / "state", tmp_path / "media"
    folder = {"type": "folder", "path": str(media)}
    clip(media, HEARD)
    await run_once(settings(state, folder, ["en", "es"]), print)
    before = heard_ms(state)
    report = await run_once(settings(state, folder, ["en", "es", "de"]), print)
    assert [str(job.target) for job in report.finished] == ["de"]
    assert heard_ms(state) == before


@pytest.mark.parametrize("after_windows", [1, 4])
async def test_kill_9_in_the_middle_of_a_film_goes_on_at_the_next_window(
    after_windows: int, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    async with FakeJellyfin() as fake:
        long = repeated(CLIP, tmp_path / "media" / "Long (2020)" / "Long (2020).mkv", 9)
        fake.add(film("Long (2020)", [audio()], library=fake.libraries[0].id, file=long, minutes=10.5))
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
        async with asyncio.timeout(60):
            while windows_saved(state) < after_windows:
                await asyncio.sleep(0.01)
        process.kill()
        await process.wait()
        saved_before = windows_saved(state)

        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        _, errors = await asyncio.wait_for(process.communicate(), 100)
        assert process.returncode == 0, errors
        total = windows_saved(state)
        assert after_windows <= saved_before < total
        heard, saved = heard_ms(state)
        assert 0 <= heard - saved <= 28_500
        uploads = [
            exchange
            for exchange in fake.received
            if exchange.method == "POST" and exchange.route.endswith("Subtitles")
        ]
        assert len(uploads) == 1


class LateAnswer:
    """An executor whose first window comes back as the answer to another attempt."""

    def __init__(self, inner: Executor) -> None:
        self._inner = inner
        self._is_late = True

    async def run(self, unit: WorkUnit) -> UnitResult:
        result = await self._inner.run(unit)
        if unit.kind is WorkKind.TRANSCRIBE and self._is_late:
            self._is_late = False
            return replace(result, attempt=unit.attempt - 1)
        return result

    async def close(self) -> None:
        await self._inner.close()


async def test_a_window_whose_answer_is_of_another_attempt_is_heard_again_and_not_taken_for_silence(
    tmp_path: Path,
) -> None:
    async with FakeJellyfin() as fake, app_beside(fake, tmp_path / "state", FastClock()) as app:
        location = MediaLocation(str(CLIP))
        duration, (track, *_), _ = app.engines.media.probe(location)
        identity = app.engines.media.identify(location, duration)
        engines = replace(app.engines, executor=LateAnswer(app.engines.executor))  # type: ignore[arg-type]
        transcriber = build_transcriber(engines, app.storage)
        with pytest.raises(ReplyUnusable):
            await transcriber.transcribe(location, track, identity, 1)
        assert await windows_transcribed(tmp_path / "state") == 0
        transcript = await transcriber.transcribe(location, track, identity, 2)
        assert transcript.windows_transcribed == await windows_transcribed(tmp_path / "state") > 0
