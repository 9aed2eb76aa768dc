"""Media that is replaced, grows or is somewhere else."""

import shutil
from pathlib import Path

import numpy as np
from fluxcaption.daemon import run_once
from fluxcaption.domain.jobs import JobState
from fluxcaption.media.files import MediaFiles
from fluxcaption.ports.media import MediaLocation
from fluxcaption.subtitles.codec import Pysubs2Codec

from tests.fakes.clock import FastClock
from tests.fakes.jellyfin import FakeItem, FakeJellyfin, Fault, audio, film, new_id, text
from tests.fakes.media import sound_clip
from tests.support.app import DEMO, READ, clip, jellyfin, settings, windows_transcribed


def replaced(item: FakeItem, file: Path, fake: FakeJellyfin) -> None:
    source = item.sources[0]
    assert source.file is not None
    if file != source.file:
        shutil.copy(file, source.file)
    source.size, source.etag = (
        source.file.stat().st_size,
        new_id(f"{source.file.stat().st_mtime_ns}-{item.etag_salt}"),
    )
    item.touch(fake.now())


def prepared(fake: FakeJellyfin, tmp_path: Path) -> FakeItem:
    item = film(
        READ,
        [audio(), text()],
        library=fake.libraries[0].id,
        file=clip(tmp_path / "media", READ),
        minutes=61 / 60,
    )
    fake.add(item)
    return item


async def test_a_file_that_only_seems_changed_makes_nothing_again(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        item = prepared(fake, tmp_path)
        wanted = settings(tmp_path / "state", jellyfin(fake), ["es"])
        await run_once(wanted, print)
        replaced(item, item.sources[0].file, fake)  # type: ignore[arg-type]
        before = len(fake.received)
        report = await run_once(wanted, print)
        assert [job.reason for job in report.finished] == [
            "the media file is unchanged, the existing FluxCaption track was made for it"
        ]
        assert not [exchange for exchange in fake.received[before:] if exchange.method != "GET"]
        assert (await run_once(wanted, print)).finished == []


async def test_a_track_of_media_that_was_replaced_is_made_again_in_its_place(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        item = prepared(fake, tmp_path)
        wanted = settings(tmp_path / "state", jellyfin(fake), ["es"])
        await run_once(wanted, print)
        (name,) = item.sources[0].sidecars
        old = item.sources[0].sidecars[name]
        other = clip(tmp_path / "other", "A Day in the Garden (2026)")
        item.sources[0].streams = [
            stream for stream in item.sources[0].streams if stream["Type"] != "Subtitle"
        ]
        replaced(item, other, fake)
        item.sources[0].ticks = 70 * 10_000_000
        report = await run_once(wanted, print)
        assert [job.state for job in report.finished] == [JobState.DONE], [
            job.reason for job in report.finished
        ]
        assert list(item.sources[0].sidecars) == [name]
        assert item.sources[0].sidecars[name] != old
        assert await windows_transcribed(tmp_path / "state") > 0


async def test_a_file_that_still_grows_is_waited_for(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        item = prepared(fake, tmp_path)
        item.sources[0].size -= 1000
        report = await run_once(
            settings(tmp_path / "state", jellyfin(fake), ["es"]), print, clock=FastClock()
        )
        assert report.finished == []
        assert report.exit_code == 75
        assert item.sources[0].sidecars == {}


async def test_a_text_of_no_language_is_read_and_found_to_cover(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        file = clip(tmp_path / "media", READ)
        spanish = "\n\n".join(
            f"{n}\n00:00:{n:02d},000 --> 00:00:{n:02d},900\nEl hombre abre la puerta y mira el jardin por la manana."
            for n in range(1, 9)
        )
        (file.parent / f"{READ}.srt").write_text(spanish, encoding="utf-8")
        item = film(READ, [audio()], library=fake.libraries[0].id, file=file, minutes=61 / 60)
        fake.add(item)
        wanted = settings(tmp_path / "state", jellyfin(fake), ["es"])
        report = await run_once(wanted, print)
        assert [job.state for job in report.finished] == [JobState.DONE]
        assert "Spanish text track exists" in report.finished[0].reason
        assert list(item.sources[0].sidecars) == [f"{READ}.srt"]
        assert (await run_once(wanted, print)).finished == []


async def test_names_with_brackets_quotes_and_many_bytes_arrive_or_are_told(tmp_path: Path) -> None:
    silence = np.zeros(16_000 * 2, np.float32)
    async with FakeJellyfin() as fake:
        for title in ("Brackets [2020] {x}", 'Quote\'s "best" 100%', "Ünïcode 映画", "l" * 251):
            sound_clip(tmp_path / "file.mkv", [("eng", silence)])
            made = film(title, [audio(), text()], library=fake.libraries[0].id, minutes=1)
            fake.embedded[(made.sources[0].id, 0)] = (
                b"1\n00:00:01,000 --> 00:00:02,000\nThe man opens the door.\n"
            )
            fake.add(made)
        wanted = settings(tmp_path / "state", jellyfin(fake), ["es"])
        report = await run_once(wanted, print)
        told = {job.title: (job.state, job.reason_code) for job in report.finished}
        assert told["l" * 251] == (JobState.FAILED, "name-too-long")
        others = [item for item in fake.items.values() if len(item.name) < 200]
        assert all(
            list(item.sources[0].sidecars) == [f"{item.sources[0].stem}.fluxcaption.es.srt"]
            for item in others
        ), told


async def test_a_text_file_of_another_film_or_language_is_no_source(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        for name, line in (
            ("Wrong Language", "Der Mann öffnet die Tür und schaut am Morgen in den Garten hinaus."),
            ("Too Long", "The man opens the door and looks at the garden."),
        ):
            file = clip(tmp_path / "media", "A Day in the Garden (2026)", f"{name} (2026)")
            times = (
                [(second, second + 1) for second in range(1, 60, 2)]
                if name == "Wrong Language"
                else [(3600, 3602), (3700, 3702)]
            )
            cues = "\n\n".join(
                f"{number}\n{start // 3600:02d}:{start // 60 % 60:02d}:{start % 60:02d},000 --> {end // 3600:02d}:{end // 60 % 60:02d}:{end % 60:02d},000\n{line}"
                for number, (start, end) in enumerate(times, 1)
            )
            (file.parent / f"{name} (2026).en.srt").write_text(cues, encoding="utf-8")
            fake.add(
                film(f"{name} (2026)", [audio()], library=fake.libraries[0].id, file=file, minutes=70 / 60)
            )
        wanted = settings(tmp_path / "state", jellyfin(fake), ["es"])
        report = await run_once(wanted, print)
        assert [job.state for job in report.finished] == [JobState.DONE, JobState.DONE]
        assert all("transcript of audio track 1" in job.reason for job in report.finished), [
            job.reason for job in report.finished
        ]
        read = [
            exchange
            for exchange in fake.received
            if "Stream." in exchange.path and ".en." not in exchange.path
        ]
        assert len(read) >= 2


async def test_a_text_that_cannot_be_read_gives_way_to_the_sound(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        beside = clip(tmp_path / "media", "A Day in the Garden (2026)", "Beside (2026)")
        (beside.parent / "Beside (2026).en.srt").write_bytes(b"\x00\x01\x02 no subtitle at all " * 50)
        fake.add(film("Beside (2026)", [audio()], library=fake.libraries[0].id, file=beside, minutes=70 / 60))
        inside = clip(tmp_path / "media", "A Day in the Garden (2026)", "Inside (2026)")
        # The server lists an embedded track that is not in the file.
        fake.add(
            film(
                "Inside (2026)", [audio(), text()], library=fake.libraries[0].id, file=inside, minutes=70 / 60
            )
        )
        fake.embedded[
            (next(item for item in fake.items.values() if item.name == "Inside (2026)").sources[0].id, 0)
        ] = b"nothing"
        report = await run_once(settings(tmp_path / "state", jellyfin(fake), ["es"]), print)
        assert [job.state for job in report.finished] == [JobState.DONE, JobState.DONE], [
            job.reason for job in report.finished
        ]
        assert all("transcript of audio track 1" in job.reason for job in report.finished)


def what_is_said() -> bytes:
    """The embedded text of the clip, as a file."""
    read = MediaFiles().text_track(MediaLocation(str(DEMO / READ / f"{READ}.mkv")), 0)
    return Pysubs2Codec().write_srt(read.cues)


def lines(words: str) -> bytes:
    return "\n".join(
        f"{n}\n00:00:{n:02d},000 --> 00:00:{n:02d},900\n{words}\n" for n in range(1, 50, 2)
    ).encode()


async def test_a_file_that_comes_while_the_sound_is_looked_at_is_not_taken_for_the_source(
    tmp_path: Path,
) -> None:
    async with FakeJellyfin() as fake:
        item = film(
            READ,
            [audio()],
            library=fake.libraries[0].id,
            file=clip(tmp_path / "media", READ),
            minutes=61 / 60,
        )
        source = item.sources[0]
        source.sidecars[f"{READ}.en.srt"] = what_is_said()
        fake.add(item)

        def somebody_adds_a_file(name: str) -> None:
            if name.endswith("/stream"):
                source.sidecars[f"{READ}.cs.srt"] = lines("Muž otevírá dveře a dívá se ráno do zahrady.")

        fake.chaos = somebody_adds_a_file
        report = await run_once(settings(tmp_path / "state", jellyfin(fake), ["es"]), print)
        assert [job.state for job in report.finished] == [JobState.DONE], [
            job.reason for job in report.finished
        ]
        made = source.sidecars[f"{READ}.fluxcaption.es.srt"].decode()
        assert "en text file" in report.finished[0].reason
        assert "otev" not in made


async def test_a_server_that_stumbles_over_a_text_is_asked_again(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        item = film(
            READ,
            [audio()],
            library=fake.libraries[0].id,
            file=clip(tmp_path / "media", READ),
            minutes=61 / 60,
        )
        item.sources[0].sidecars[f"{READ}.en.srt"] = what_is_said()
        fake.add(item)
        fake.break_next("GET /Videos/{itemId}/{mediaSourceId}/Subtitles", Fault(status=500))
        wanted = settings(tmp_path / "state", jellyfin(fake), ["es"])
        clock = FastClock()
        while (report := await run_once(wanted, print, clock=clock)).waiting:
            await clock.sleep(120)
        assert [job.state for job in report.finished] == [JobState.DONE]
        request = [
            exchange.status
            for exchange in fake.received
            if exchange.method == "GET" and ".en." not in exchange.path and "/Subtitles/" in exchange.path
        ]
        assert request[:2] == [500, 200]
        assert "text file" in report.finished[0].reason


async def test_a_text_too_large_to_be_one_gives_way_to_the_sound(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        item = film(
            READ,
            [audio()],
            library=fake.libraries[0].id,
            file=clip(tmp_path / "media", READ),
            minutes=61 / 60,
        )
        item.sources[0].sidecars[f"{READ}.en.srt"] = lines("The man opens the door.") * 5000
        fake.add(item)
        report = await run_once(settings(tmp_path / "state", jellyfin(fake), ["es"]), print)
        assert [job.state for job in report.finished] == [JobState.DONE], [
            job.reason for job in report.finished
        ]
        assert "transcript of audio track 1" in report.finished[0].reason


async def test_the_sound_is_looked_at_once_for_all_texts_beside_it(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        item = film(
            READ,
            [audio()],
            library=fake.libraries[0].id,
            file=clip(tmp_path / "media", READ),
            minutes=61 / 60,
        )
        source = item.sources[0]
        source.sidecars[f"{READ}.en.srt"] = what_is_said()
        fake.add(item)
        await run_once(settings(tmp_path / "state", jellyfin(fake), ["es"]), print)
        # The second text is laid beside what is known of the sound: a film so large is not fetched over the network for it.
        del source.sidecars[f"{READ}.en.srt"]
        source.sidecars[f"{READ}.eng.srt"] = what_is_said()
        item.touch(fake.now())
        before = len(fake.received)
        report = await run_once(settings(tmp_path / "state", jellyfin(fake), ["es", "de"]), print)
        assert [job.state for job in report.finished] == [JobState.DONE], [
            job.reason for job in report.finished
        ]
        assert not [
            exchange
            for exchange in fake.received[before:]
            if exchange.path.endswith("/stream") and exchange.method == "GET"
        ]


async def test_tracks_are_found_again_when_their_numbers_move_while_they_are_read(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        item = film(
            READ,
            [audio()],
            library=fake.libraries[0].id,
            file=clip(tmp_path / "media", READ),
            minutes=61 / 60,
        )
        source = item.sources[0]
        source.sidecars[f"{READ}.x1.srt"] = lines(
            "Der Mann öffnet die Tür und schaut am Morgen in den Garten hinaus."
        )
        source.sidecars[f"{READ}.x2.srt"] = lines("El hombre abre la puerta y mira el jardín por la mañana.")
        fake.add(item)

        def somebody_adds_a_file(name: str) -> None:
            if "Stream." in name or "Subtitles" in name:
                source.sidecars.setdefault(
                    f"{READ}.x0.srt",
                    lines("Der Mann öffnet die Tür und schaut am Morgen in den Garten hinaus."),
                )

        fake.chaos = somebody_adds_a_file
        report = await run_once(settings(tmp_path / "state", jellyfin(fake), ["es"]), print)
        assert [job.state for job in report.finished] == [JobState.DONE], [
            job.reason for job in report.finished
        ]
        assert "Spanish text track exists" in report.finished[0].reason
