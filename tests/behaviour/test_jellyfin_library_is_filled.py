"""A Jellyfin library gets what it lacks: real media over HTTP, real engines, a real socket."""

from pathlib import Path

import pytest
from fluxcaption.daemon import run_once
from fluxcaption.domain.jobs import JobState

from tests.fakes.clock import FastClock
from tests.fakes.jellyfin import FakeJellyfin, audio, film, text
from tests.support.app import HEARD, READ, clip, heard_ms, jellyfin, settings, windows_transcribed
from tests.support.openapi import CONTRACT, violations

VERSIONS = ["10.10.7", "10.11.11", "12.0.0"]


def library(fake: FakeJellyfin, folder: Path) -> None:
    """Three films: one to hear, one with text inside, one with a text file beside it."""
    movies = fake.libraries[0].id
    beside = clip(folder, HEARD, "Beside (2020)")
    (beside.parent / "Beside (2020).en.srt").write_bytes(
        b"1\n00:00:01,000 --> 00:00:02,500\nThe man opens the door.\n"
    )
    fake.add(
        film(HEARD, [audio()], library=movies, file=clip(folder, HEARD), minutes=70 / 60),
        film(READ, [audio(), text()], library=movies, file=clip(folder, READ), minutes=61 / 60),
        film("Beside (2020)", [audio()], library=movies, file=beside, minutes=70 / 60),
    )


@pytest.mark.parametrize("version", VERSIONS)
async def test_three_films_get_three_languages_and_are_heard_once(version: str, tmp_path: Path) -> None:
    async with FakeJellyfin(version) as fake:
        library(fake, tmp_path / "media")
        wanted = settings(tmp_path / "state", jellyfin(fake), ["es", "de", "en"])
        lines: list[str] = []
        report = await run_once(wanted, lines.append)

        assert report.exit_code == 0, lines
        assert all(job.state is JobState.DONE for job in report.finished)
        names = sorted(name for item in fake.items.values() for name in item.sources[0].sidecars)
        assert names == sorted(
            [
                f"{HEARD}.fluxcaption.de.srt",
                f"{HEARD}.fluxcaption.en.srt",
                f"{HEARD}.fluxcaption.es.srt",
                f"{READ}.fluxcaption.de.srt",
                f"{READ}.fluxcaption.es.srt",
                "Beside (2020).en.srt",
                "Beside (2020).fluxcaption.de.srt",
                "Beside (2020).fluxcaption.es.srt",
            ]
        )
        uploads = [
            exchange
            for exchange in fake.received
            if exchange.method == "POST" and exchange.route.endswith("Subtitles")
        ]
        assert len(uploads) == 7
        heard = await windows_transcribed(tmp_path / "state")
        assert heard > 0
        sound_heard, sound_saved = heard_ms(tmp_path / "state")
        assert sound_heard == sound_saved <= 70_000, "one film, once, for all its languages"

        before = len(fake.received)
        again = await run_once(wanted, lines.append)
        assert again.finished == []
        assert again.waiting == 0
        assert not [exchange for exchange in fake.received[before:] if exchange.method != "GET"]
        assert await windows_transcribed(tmp_path / "state") == heard
        print(
            f"{version}: {before} requests, {len(uploads)} tracks visible, {heard} windows of one film heard for its 3 languages, none twice;"
            f" second scan: {len(fake.received) - before} requests, {len(again.finished)} jobs"
        )
        if CONTRACT.is_dir():
            assert [fault for exchange in fake.received for fault in violations(exchange, version)] == []


async def test_an_upload_that_lies_is_not_called_done(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        fake.lies_about_uploads = True
        fake.add(
            film(
                READ,
                [audio(), text()],
                library=fake.libraries[0].id,
                file=clip(tmp_path, READ),
                minutes=61 / 60,
            )
        )
        report = await run_once(
            settings(tmp_path / "state", jellyfin(fake), ["es"]), print, clock=FastClock()
        )
        assert report.exit_code == 75
        assert report.finished == []
        assert (
            len(
                [
                    exchange
                    for exchange in fake.received
                    if exchange.method == "POST" and exchange.route.endswith("Subtitles")
                ]
            )
            == 1
        )
