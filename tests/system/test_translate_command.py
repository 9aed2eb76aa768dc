"""The command `translate` on one subtitle file, with a fake Ollama server."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.ollama import FakeOllama

TEXT = (
    "1\n00:00:01,000 --> 00:00:02,000\nThe man opens the door.\n\n"
    "2\n00:00:03,000 --> 00:00:04,000\nWhere is the cat?\n"
)


@pytest.fixture
async def fake() -> AsyncIterator[FakeOllama]:
    async with FakeOllama(lambda text: f"Auf Deutsch: {text}") as server:
        yield server


async def translate(file: Path, fake: FakeOllama, *options: str) -> tuple[int, str, str]:
    config = file.parent / "config.yaml"
    config.write_text(
        f"server: {{type: folder, path: .}}\nlanguages: {{targets: [de]}}\nstate: state\n"
        f'translation: {{backends: [{{type: ollama, url: "{fake.url}", model: tiny}}]}}\n'
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "fluxcaption", "translate", str(file),
        "--to", "de", "--config", str(config), *options,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "XDG_CACHE_HOME": str(file.parent / "cache"), "LANG": "C.UTF-8"},
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, out.decode(), err.decode()


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("Film.en.srt", "Film.fluxcaption.de.srt"),
        ("Film.en.sdh.srt", "Film.fluxcaption.de.srt"),
        ("The.Best.Film.2020.en.forced.srt", "The.Best.Film.2020.fluxcaption.de.srt"),
        ("It.Follows.en.srt", "It.Follows.fluxcaption.de.srt"),
    ],
)
async def test_the_language_is_read_from_the_file_name_as_servers_read_it(
    name: str, written: str, fake: FakeOllama, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(TEXT)
    code, out, err = await translate(tmp_path / name, fake)
    assert (code, err) == (0, "")
    assert out.startswith(f"{name} [de]: {written}, translated by ollama tiny from {name}")
    assert (tmp_path / written).read_text() == TEXT.replace("The man", "Auf Deutsch: The man").replace(
        "Where", "Auf Deutsch: Where"
    )


async def test_a_file_with_untranslated_sentences_is_not_written(fake: FakeOllama, tmp_path: Path) -> None:
    fake.translate_text = lambda text: ""
    (tmp_path / "Film.en.srt").write_text(TEXT)
    code, out, err = await translate(tmp_path / "Film.en.srt", fake)
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert "left 2 of 2 sentences untranslated" in err
    assert sorted(path.name for path in tmp_path.glob("*.srt")) == ["Film.en.srt"]


async def test_without_a_terminal_each_quarter_of_the_progress_is_printed(
    fake: FakeOllama, tmp_path: Path
) -> None:
    cues = []
    for number in range(1, 161):
        second = f"00:{number // 60:02d}:{number % 60:02d}"
        cues.append(f"{number}\n{second},000 --> {second},900\nSentence number {number} is said.\n")
    (tmp_path / "Film.en.srt").write_text("\n".join(cues))
    code, _, err = await translate(tmp_path / "Film.en.srt", fake)
    assert code == 0
    assert err.splitlines() == [f"Film.en.srt [de]: {percent} %" for percent in (25, 50, 75)]
