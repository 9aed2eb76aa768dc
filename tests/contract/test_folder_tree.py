"""A folder tree as a library: unusual names, sidecars and atomic writing."""

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from fluxcaption.daemon import run_once
from fluxcaption.domain.errors import NameTooLong, ServiceUnreachable
from fluxcaption.domain.jobs import JobState
from fluxcaption.domain.media import AudioTrack, Item, SubtitleTrack
from fluxcaption.domain.units import Ms
from fluxcaption.folder.atomic_write import copy_owner_and_mode, write_file
from fluxcaption.folder.tree import FolderTree
from fluxcaption.media.files import MediaFiles
from fluxcaption.ports.media import MediaLocation

from tests.support.app import DEMO, SPEECH_FILM, TEXT_FILM, clip, settings

CLIP = DEMO / TEXT_FILM / f"{TEXT_FILM}.mkv"
CUE = "1\n00:00:01,000 --> 00:00:02,000\nword\n"


class CountingMedia(MediaFiles):
    """A media reader that records the names of the probed files."""

    def __init__(self) -> None:
        self.probed: list[str] = []

    def probe(self, location: MediaLocation) -> tuple[Ms, tuple[AudioTrack, ...], tuple[SubtitleTrack, ...]]:
        self.probed.append(Path(location.address).name)
        return super().probe(location)


@asynccontextmanager
async def tree(root: Path, media: MediaFiles | None = None) -> AsyncIterator[FolderTree]:
    library = FolderTree(root, media or MediaFiles())
    try:
        yield library
    finally:
        await library.close()


async def items_of(library: FolderTree) -> Sequence[Item]:
    (folder,) = await library.libraries()
    return [item async for page in library.items(folder) for item in page]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Yield a folder that every user may write to, while the process runs without root privileges."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        try:
            yield folder
        finally:
            os.seteuid(user)


async def test_a_file_name_that_is_not_unicode_is_skipped_with_its_reason(
    tmp_path: Path,
) -> None:
    clip(tmp_path / "media", TEXT_FILM)
    for name in (b"caf\xe9.mkv", b"caf\xe9.de.srt"):
        shutil.copy(CLIP, tmp_path / "media" / os.fsdecode(name))
    config = settings(tmp_path / "state", {"type": "folder", "path": str(tmp_path / "media")}, ["es"])
    report = await run_once(config, print)
    assert [(job.title, job.state) for job in report.finished] == [(TEXT_FILM, JobState.DONE)]
    async with tree(tmp_path / "media") as library:
        skipped = next(item for item in await items_of(library) if item.name != TEXT_FILM)
    assert (skipped.name, "rename it" in skipped.broken) == ("caf�", True)


async def test_a_sidecar_name_that_is_not_unicode_covers_and_is_no_source(tmp_path: Path) -> None:
    media = clip(tmp_path / "media", SPEECH_FILM)
    (media.parent / (SPEECH_FILM + os.fsdecode(b".caf\xe9.es.srt"))).write_text(CUE, encoding="utf-8")
    config = settings(tmp_path / "state", {"type": "folder", "path": str(tmp_path / "media")}, ["es", "en"])
    report = await run_once(config, print)
    assert [(str(job.target), job.state) for job in report.finished] == [("en", JobState.DONE)]


async def test_a_file_is_probed_once_until_it_disappears(tmp_path: Path) -> None:
    media = clip(tmp_path, TEXT_FILM)
    counting = CountingMedia()
    async with tree(tmp_path, counting) as library:
        await items_of(library)
        await items_of(library)
        assert counting.probed == [media.name]
        moved = tmp_path.parent / f"{tmp_path.name}-moved.mkv"
        media.rename(moved)
        assert await items_of(library) == []
        moved.rename(media)
        await items_of(library)
    assert counting.probed == [media.name, media.name]


async def test_a_sidecar_name_is_read_as_a_server_reads_it(tmp_path: Path) -> None:
    media = clip(tmp_path, TEXT_FILM)
    for suffix in (
        "fluxcaption.zh-Hans.zh",
        "Traditional.zh",
        "Commentary.en",
        "Signs & Songs.en",
        "forced.en",
        "en.hin",
    ):
        (media.parent / f"{TEXT_FILM}.{suffix}.srt").write_text(CUE, encoding="utf-8")
    async with tree(tmp_path) as library:
        (item,) = await items_of(library)
    tracks = {
        track.suffix.removesuffix(".srt"): track for track in item.sources[0].subtitles if track.is_external
    }
    assert str(tracks["fluxcaption.zh-Hans.zh"].language) == "zh-Hans"
    assert str(tracks["Traditional.zh"].language) == "zh-Hant"
    assert {name for name, track in tracks.items() if not track.has_full_dialogue} == {
        "Commentary.en",
        "Signs & Songs.en",
        "forced.en",
    }
    assert (str(tracks["en.hin"].language), tracks["en.hin"].is_hearing_impaired) == ("en", True)


@pytest.mark.parametrize("is_root", [True, False], ids=["the library itself", "a folder of the library"])
async def test_an_unreadable_folder_is_reported_and_not_taken_for_empty(
    is_root: bool, open_folder: Path
) -> None:
    films = open_folder / "Films"
    films.mkdir()
    (open_folder / "lost+found").mkdir(0o000)
    async with tree(films if is_root else open_folder) as library:
        assert await items_of(library) == []
        films.chmod(0o000)
        with pytest.raises(
            ServiceUnreachable,
            match=f"{films} gave no usable answer: Permission denied: can the daemon read the folder",
        ):
            await items_of(library)
        films.chmod(0o700)


async def test_a_pipe_with_the_name_of_a_film_is_broken(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "Film.mkv")
    async with tree(tmp_path) as library:
        (item,) = await items_of(library)
    assert "it is not a regular file" in item.broken


# Writing


@pytest.mark.parametrize("length", [20, 244, 255])
def test_the_longest_possible_file_name_is_written(length: int, tmp_path: Path) -> None:
    target = tmp_path / ("a" * (length - 4) + ".srt")
    write_file(target, b"word")
    write_file(target, b"another")
    assert target.read_bytes() == b"another"
    assert list(tmp_path.iterdir()) == [target]


def test_a_file_name_that_is_too_long_is_reported(tmp_path: Path) -> None:
    with pytest.raises(NameTooLong):
        write_file(tmp_path / ("a" * 252 + ".srt"), b"word")
    assert list(tmp_path.iterdir()) == []


def test_unfinished_files_are_removed_except_those_being_written(tmp_path: Path) -> None:
    unfinished, locked, symlink = (
        tmp_path / f".fluxcaption-{'0' * 15}{number}.unfinished" for number in (1, 2, 3)
    )
    unfinished.write_bytes(b"half")
    symlink.symlink_to(tmp_path / "elsewhere")
    with locked.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        write_file(tmp_path / "Film.de.srt", b"word")
        assert sorted(path.name for path in tmp_path.iterdir()) == [locked.name, symlink.name, "Film.de.srt"]


def test_a_file_is_kept_in_a_folder_that_cannot_be_synced(open_folder: Path) -> None:
    folder = open_folder / "Films"
    folder.mkdir(0o300)
    write_file(folder / "Film.de.srt", b"word")
    folder.chmod(0o700)
    assert [path.name for path in folder.iterdir()] == ["Film.de.srt"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can create a file of another user")
def test_a_sidecar_gets_the_mode_of_its_film_if_the_owner_cannot_change(open_folder: Path) -> None:
    media, sidecar = open_folder / "Film.mkv", open_folder / "Film.de.srt"
    sidecar.write_bytes(b"word")
    sidecar.chmod(0o600)
    os.seteuid(0)
    media.write_bytes(b"film")
    media.chmod(0o664)
    os.seteuid(65534)
    copy_owner_and_mode(media, sidecar)
    assert stat.S_IMODE(sidecar.stat().st_mode) == 0o664
    assert sidecar.stat().st_uid == 65534
