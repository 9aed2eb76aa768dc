"""The first commands of the README, on the shipped clips."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fluxcaption.subtitles.codec import Pysubs2Codec

from tests.support.measuring import word_error_rate

CONFIG = Path(__file__).parents[2] / "config"
SPEECH_FILM = "A Day in the Garden (2026)"
TEXT_FILM = "The Blue House (2026)"


def fluxcaption(*arguments: str | Path, cache: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command; commands on single files need a `cache` folder instead of the user's."""
    return subprocess.run(
        [sys.executable, "-m", "fluxcaption", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**os.environ, "XDG_CACHE_HOME": str(cache)} if cache is not None else None,
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the demo after its first run."""
    folder = tmp_path_factory.mktemp("demo")
    shutil.copytree(
        CONFIG / "demo" / "library", folder / "demo" / "library", ignore=shutil.ignore_patterns("*.srt")
    )
    shutil.copy(CONFIG / "demo.yaml", folder)
    first = fluxcaption("run", "--config", folder / "demo.yaml", "--once")
    assert first.returncode == 0, first.stderr
    assert "3 subtitle(s) made" in first.stdout
    return folder


def spoken_sentences(title: str) -> list[dict[str, str]]:
    value: list[dict[str, str]] = json.loads(
        (CONFIG / "demo" / "known-text" / f"{title}.json").read_text(encoding="utf-8")
    )
    return value


def read_cues(demo: Path, title: str, language: str) -> list[tuple[int, str]]:
    name = f"{title}.fluxcaption.{language}.srt"
    return [
        (cue.start, cue.text)
        for cue in Pysubs2Codec().read(name, (demo / "demo" / "library" / title / name).read_bytes()).cues
    ]


def test_the_spoken_words_are_transcribed(demo: Path) -> None:
    spoken = " ".join(sentence["en"] for sentence in spoken_sentences(SPEECH_FILM))
    assert word_error_rate(spoken, " ".join(text for _, text in read_cues(demo, SPEECH_FILM, "en"))) <= 0.05


@pytest.mark.parametrize("title", [SPEECH_FILM, TEXT_FILM])
def test_most_lines_are_translated_exactly(demo: Path, title: str) -> None:
    expected = [sentence["es"] for sentence in spoken_sentences(title)]
    written = [text for _, text in read_cues(demo, title, "es")]
    assert sum(text in written for text in expected) >= 0.85 * len(expected)


def test_cues_start_at_the_speech(demo: Path) -> None:
    starts = [start for start, _ in read_cues(demo, SPEECH_FILM, "en")]
    errors = sorted(
        min(abs(start - int(sentence["start_ms"])) for start in starts)
        for sentence in spoken_sentences(SPEECH_FILM)
    )
    assert errors[len(errors) // 2] <= 100
    assert errors[int(len(errors) * 0.9)] <= 400


def test_an_existing_track_is_not_made_again(demo: Path) -> None:
    assert not (demo / "demo" / "library" / TEXT_FILM / f"{TEXT_FILM}.fluxcaption.en.srt").exists()


def test_a_second_run_has_nothing_to_do(demo: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (demo / "demo" / "library").rglob("*")}
    second = fluxcaption("run", "--config", demo / "demo.yaml", "--once")
    assert second.returncode == 0
    assert "nothing to do" in second.stdout
    assert before == {path: path.stat().st_mtime_ns for path in (demo / "demo" / "library").rglob("*")}


def test_caption_transcribes_a_single_file_without_configuration(tmp_path: Path) -> None:
    media = CONFIG / "demo" / "library" / SPEECH_FILM / f"{SPEECH_FILM}.mkv"
    made = fluxcaption(
        "caption", media, "--to", "es", "--output", tmp_path,
        "--model", "miniature", "--translator", "miniature",
        cache=tmp_path / "cache",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    cues = Pysubs2Codec().read("a.srt", (tmp_path / f"{SPEECH_FILM}.fluxcaption.es.srt").read_bytes()).cues
    assert len(cues) >= 15


def test_translate_keeps_the_format(tmp_path: Path) -> None:
    source = tmp_path / "Film.en.vtt"
    source.write_text(
        "WEBVTT\n\nNOTE mine\n\nfirst\n00:01.000 --> 00:02.500 line:10%\n<i>The man opens the door.</i>\n",
        encoding="utf-8",
    )
    made = fluxcaption(
        "translate", source, "--to", "de", "--translator", "miniature", cache=tmp_path / "cache"
    )
    assert made.returncode == 0, made.stderr
    text = (tmp_path / "Film.fluxcaption.de.vtt").read_text(encoding="utf-8")
    assert (
        text
        == "WEBVTT\n\nNOTE mine\n\nfirst\n00:01.000 --> 00:02.500 line:10%\n<i>Der Mann öffnet die Tür.</i>\n"
    )
