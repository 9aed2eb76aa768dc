"""Media that is replaced or still grows, and text tracks that change, mislead or cannot be read."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from fluxcaption.daemon import OnceReport, run_once
from fluxcaption.domain.jobs import JobState
from fluxcaption.media.files import MediaFiles
from fluxcaption.ports.media import MediaLocation
from fluxcaption.subtitles.codec import Pysubs2Codec

from tests.fakes.clock import FastClock
from tests.fakes.jellyfin import FakeItem, FakeJellyfin, Fault, audio, film, new_id, text
from tests.support.app import DEMO, SPEECH_FILM, TEXT_FILM, jellyfin, settings, windows_transcribed
from tests.support.libraries import add_demo_film, non_get_requests, own_name

ENGLISH = "The man opens the door and looks at the garden."
GERMAN = "Der Mann öffnet die Tür und schaut am Morgen in den Garten hinaus."
SPANISH = "El hombre abre la puerta y mira el jardín por la mañana."
CZECH = "Muž otevírá dveře a dívá se ráno do zahrady."


def save_media(fake: FakeJellyfin, item: FakeItem, new_file: Path | None = None) -> None:
    """Save the item on the server as after a change of its file, which `new_file` replaces if given."""
    source = item.sources[0]
    assert source.file is not None
    if new_file is not None:
        shutil.copy(new_file, source.file)
    status = source.file.stat()
    source.size, source.etag = status.st_size, new_id(f"{status.st_mtime_ns}-{item.etag_salt}")
    item.touch(fake.now())


def write_sidecar(item: FakeItem, name: str, content: bytes) -> None:
    """Write a text file beside the media file of the item."""
    source = item.sources[0]
    assert source.file is not None
    source.file.with_name(name).write_bytes(content)
    source.read_folder()


def srt(line: str, starts_s: Iterable[int] = range(1, 50, 2), length_ms: int = 900) -> bytes:
    """Return a track that shows one line at each start."""
    return "\n".join(
        f"{number}\n{_time(start * 1000)} --> {_time(start * 1000 + length_ms)}\n{line}\n"
        for number, start in enumerate(starts_s, 1)
    ).encode()


def _time(ms: int) -> str:
    return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d},{ms % 1000:03d}"


def english_text_of_demo() -> bytes:
    """Return the embedded text track of the demo film as a file."""
    track = MediaFiles().text_track(MediaLocation(str(DEMO / TEXT_FILM / f"{TEXT_FILM}.mkv")), 0)
    return Pysubs2Codec().write_srt(track.cues)


def assert_all_done(report: OnceReport, count: int = 1) -> None:
    states = [job.state for job in report.finished]
    assert states == [JobState.DONE] * count, [job.reason for job in report.finished]


# -- Media files -------------------------------------------------------------------------------


async def test_unchanged_media_with_a_new_revision_gets_no_new_track(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        item = add_demo_film(fake, tmp_path / "media", TEXT_FILM, [audio(), text()])
        config = settings(tmp_path / "state", jellyfin(fake), ["es"])
        await run_once(config, print)
        save_media(fake, item)
        requests_before = len(fake.received)
        report = await run_once(config, print)
        assert [job.reason for job in report.finished] == [
            "the media file is unchanged, the existing FluxCaption track was made for it"
        ]
        assert non_get_requests(fake, requests_before) == []
        assert (await run_once(config, print)).finished == []


async def test_track_of_replaced_media_is_replaced_under_the_same_name(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        item = add_demo_film(fake, tmp_path / "media", TEXT_FILM, [audio(), text()])
        source = item.sources[0]
        config = settings(tmp_path / "state", jellyfin(fake), ["es"])
        await run_once(config, print)
        ((name, earlier),) = source.sidecars.items()
        source.streams = [stream for stream in source.streams if stream["Type"] != "Subtitle"]
        save_media(fake, item, DEMO / SPEECH_FILM / f"{SPEECH_FILM}.mkv")
        source.ticks = 70 * 10_000_000
        assert_all_done(await run_once(config, print))
        assert list(source.sidecars) == [name]
        assert source.sidecars[name] != earlier
        assert await windows_transcribed(tmp_path / "state") > 0


async def test_growing_media_file_is_retried_later(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        item = add_demo_film(fake, tmp_path / "media", TEXT_FILM, [audio(), text()])
        item.sources[0].size -= 1000
        config = settings(tmp_path / "state", jellyfin(fake), ["es"])
        report = await run_once(config, print, clock=FastClock())
        assert report.finished == []
        assert report.exit_code == 75
        assert item.sources[0].sidecars == {}


async def test_unusual_file_names_are_delivered_or_reported(tmp_path: Path) -> None:
    too_long = "l" * 251
    async with FakeJellyfin() as fake:
        for title in ("Brackets [2020] {x}", 'Quote\'s "best" 100%', "Ünïcode 映画", too_long):
            item = film(title, [audio(), text()], library=fake.libraries[0].id, minutes=1)
            fake.embedded[(item.sources[0].id, 0)] = (
                b"1\n00:00:01,000 --> 00:00:02,000\nThe man opens the door.\n"
            )
            fake.add(item)
        report = await run_once(settings(tmp_path / "state", jellyfin(fake), ["es"]), print)
        outcomes = {job.title: (job.state, job.reason_code) for job in report.finished}
        assert outcomes[too_long] == (JobState.FAILED, "name-too-long")
        for item in fake.items.values():
            if item.name != too_long:
                assert list(item.sources[0].sidecars) == [own_name(item, "es")], outcomes


# -- Text tracks as the source -----------------------------------------------------------------


async def test_text_without_a_language_tag_is_detected_and_covers_the_target(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        item = add_demo_film(fake, tmp_path / "media", TEXT_FILM, [audio()])
        write_sidecar(item, f"{TEXT_FILM}.srt", srt(SPANISH))
        config = settings(tmp_path / "state", jellyfin(fake), ["es"])
        report = await run_once(config, print)
        assert_all_done(report)
        assert "Spanish text track exists" in report.finished[0].reason
        assert list(item.sources[0].sidecars) == [f"{TEXT_FILM}.srt"]
        assert (await run_once(config, print)).finished == []


async def test_text_file_of_another_film_or_language_is_not_a_source(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        for name, track in (
            ("Wrong Language (2026)", srt(GERMAN, range(1, 60, 2), 1000)),
            ("Too Long (2026)", srt(ENGLISH, (3600, 3700), 2000)),
        ):
            item = add_demo_film(fake, tmp_path / "media", SPEECH_FILM, [audio()], name)
            write_sidecar(item, f"{name}.en.srt", track)
        report = await run_once(settings(tmp_path / "state", jellyfin(fake), ["es"]), print)
        assert_all_done(report, 2)
        for job in report.finished:
            assert "transcript of audio track 1" in job.reason
        reads = [
            exchange
            for exchange in fake.received
            if "Stream." in exchange.path and ".en." not in exchange.path
        ]
        assert len(reads) >= 2


async def test_unreadable_text_track_falls_back_to_speech(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        media = tmp_path / "media"
        sidecar = add_demo_film(fake, media, SPEECH_FILM, [audio()], "Sidecar (2026)")
        write_sidecar(sidecar, "Sidecar (2026).en.srt", b"\x00\x01\x02 no subtitle at all " * 50)
        # The server lists an embedded track that is not in the file.
        embedded = add_demo_film(fake, media, SPEECH_FILM, [audio(), text()], "Embedded (2026)")
        fake.embedded[(embedded.sources[0].id, 0)] = b"nothing"
        report = await run_once(settings(tmp_path / "state", jellyfin(fake), ["es"]), print)
        assert_all_done(report, 2)
        for job in report.finished:
            assert "transcript of audio track 1" in job.reason


async def test_oversized_text_track_falls_back_to_speech(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        item = add_demo_film(fake, tmp_path / "media", TEXT_FILM, [audio()])
        item.sources[0].sidecars[f"{TEXT_FILM}.en.srt"] = srt("The man opens the door.") * 5000
        report = await run_once(settings(tmp_path / "state", jellyfin(fake), ["es"]), print)
        assert_all_done(report)
        assert "transcript of audio track 1" in report.finished[0].reason


async def test_failed_read_of_a_text_track_is_retried(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        item = add_demo_film(fake, tmp_path / "media", TEXT_FILM, [audio()])
        item.sources[0].sidecars[f"{TEXT_FILM}.en.srt"] = english_text_of_demo()
        fake.break_next("GET /Videos/{itemId}/{mediaSourceId}/Subtitles", Fault(status=500))
        config = settings(tmp_path / "state", jellyfin(fake), ["es"])
        clock = FastClock()
        while (report := await run_once(config, print, clock=clock)).waiting:
            clock.pass_time(minutes=2)
        assert_all_done(report)
        statuses = [
            exchange.status
            for exchange in fake.received
            if exchange.method == "GET" and ".en." not in exchange.path and "/Subtitles/" in exchange.path
        ]
        assert statuses[:2] == [500, 200]
        assert "text file" in report.finished[0].reason


async def test_speech_samples_are_reused_for_every_text_track(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        item = add_demo_film(fake, tmp_path / "media", TEXT_FILM, [audio()])
        source = item.sources[0]
        source.sidecars[f"{TEXT_FILM}.en.srt"] = english_text_of_demo()
        await run_once(settings(tmp_path / "state", jellyfin(fake), ["es"]), print)
        # The sync check of the second text uses the stored samples, without another download of the film.
        del source.sidecars[f"{TEXT_FILM}.en.srt"]
        source.sidecars[f"{TEXT_FILM}.eng.srt"] = english_text_of_demo()
        item.touch(fake.now())
        requests_before = len(fake.received)
        assert_all_done(await run_once(settings(tmp_path / "state", jellyfin(fake), ["es", "de"]), print))
        downloads = [
            exchange
            for exchange in fake.received[requests_before:]
            if exchange.path.endswith("/stream") and exchange.method == "GET"
        ]
        assert downloads == []


# -- Sidecars that arrive during the work ------------------------------------------------------


async def test_sidecar_added_during_the_sync_check_is_not_taken_for_the_source(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        item = add_demo_film(fake, tmp_path / "media", TEXT_FILM, [audio()])
        source = item.sources[0]
        source.sidecars[f"{TEXT_FILM}.en.srt"] = english_text_of_demo()

        def add_sidecar(request: str) -> None:
            if request.endswith("/stream"):
                source.sidecars[f"{TEXT_FILM}.cs.srt"] = srt(CZECH)

        fake.choose_fault = add_sidecar
        report = await run_once(settings(tmp_path / "state", jellyfin(fake), ["es"]), print)
        assert_all_done(report)
        assert "en text file" in report.finished[0].reason
        assert "otev" not in source.sidecars[own_name(item, "es")].decode()


async def test_tracks_are_found_by_name_when_their_indexes_shift(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        item = add_demo_film(fake, tmp_path / "media", TEXT_FILM, [audio()])
        source = item.sources[0]
        source.sidecars[f"{TEXT_FILM}.x1.srt"] = srt(GERMAN)
        source.sidecars[f"{TEXT_FILM}.x2.srt"] = srt(SPANISH)

        def add_sidecar(request: str) -> None:
            if "Stream." in request or "Subtitles" in request:
                source.sidecars.setdefault(f"{TEXT_FILM}.x0.srt", srt(GERMAN))

        fake.choose_fault = add_sidecar
        report = await run_once(settings(tmp_path / "state", jellyfin(fake), ["es"]), print)
        assert_all_done(report)
        assert "Spanish text track exists" in report.finished[0].reason
