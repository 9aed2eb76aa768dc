"""A Jellyfin library gets the missing tracks: real media over HTTP, real speech and translation backends."""

from pathlib import Path

import pytest
from fluxcaption.daemon import run_once
from fluxcaption.domain.jobs import JobState

from tests.fakes.clock import FastClock
from tests.fakes.jellyfin import FakeJellyfin, audio, text
from tests.support.app import (
    SPEECH_FILM,
    TEXT_FILM,
    jellyfin,
    settings,
    total_transcribed_ms,
    windows_transcribed,
)
from tests.support.libraries import add_demo_film, non_get_requests, uploads
from tests.support.openapi import CONTRACT, violations

VERSIONS = ["10.10.7", "10.11.11", "12.0.0"]


def add_three_films(fake: FakeJellyfin, folder: Path) -> None:
    """Add a film without text, one with an embedded text track and one with a text file."""
    add_demo_film(fake, folder, SPEECH_FILM, [audio()])
    add_demo_film(fake, folder, TEXT_FILM, [audio(), text()])
    source = add_demo_film(fake, folder, SPEECH_FILM, [audio()], "Sidecar (2020)").sources[0]
    (folder / "Sidecar (2020)" / "Sidecar (2020).en.srt").write_bytes(
        b"1\n00:00:01,000 --> 00:00:02,500\nThe man opens the door.\n"
    )
    source.read_folder()


@pytest.mark.parametrize("version", VERSIONS)
async def test_films_get_every_target_and_are_transcribed_once(version: str, tmp_path: Path) -> None:
    state = tmp_path / "state"
    async with FakeJellyfin(version) as fake:
        add_three_films(fake, tmp_path / "media")
        config = settings(state, jellyfin(fake), ["es", "de", "en"])
        lines: list[str] = []
        report = await run_once(config, lines.append)

        assert report.exit_code == 0, lines
        assert all(job.state is JobState.DONE for job in report.finished)
        names = sorted(name for item in fake.items.values() for name in item.sources[0].sidecars)
        assert names == sorted(
            [
                f"{SPEECH_FILM}.fluxcaption.de.srt",
                f"{SPEECH_FILM}.fluxcaption.en.srt",
                f"{SPEECH_FILM}.fluxcaption.es.srt",
                f"{TEXT_FILM}.fluxcaption.de.srt",
                f"{TEXT_FILM}.fluxcaption.es.srt",
                "Sidecar (2020).en.srt",
                "Sidecar (2020).fluxcaption.de.srt",
                "Sidecar (2020).fluxcaption.es.srt",
            ]
        )
        assert len(uploads(fake)) == 7
        windows = await windows_transcribed(state)
        assert windows > 0
        transcribed_ms, stored_ms = total_transcribed_ms(state)
        assert transcribed_ms == stored_ms <= 70_000, "only one film needs speech recognition"

        requests_before = len(fake.received)
        second_report = await run_once(config, lines.append)
        assert second_report.finished == []
        assert second_report.waiting == 0
        assert non_get_requests(fake, requests_before) == []
        assert await windows_transcribed(state) == windows
        print(
            f"{version}: {requests_before} requests, {len(uploads(fake))} tracks visible,"
            f" {windows} windows of one film transcribed for its 3 languages, none twice;"
            f" second scan: {len(fake.received) - requests_before} requests, 0 jobs"
        )
        if CONTRACT.is_dir():
            assert [fault for exchange in fake.received for fault in violations(exchange, version)] == []


async def test_accepted_upload_without_a_file_is_not_reported_as_done(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        fake.accepts_without_writing = True
        add_demo_film(fake, tmp_path / "media", TEXT_FILM, [audio(), text()])
        config = settings(tmp_path / "state", jellyfin(fake), ["es"])
        report = await run_once(config, print, clock=FastClock())
        assert report.exit_code == 75
        assert report.finished == []
        assert len(uploads(fake)) == 1
