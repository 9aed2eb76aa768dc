"""Bad input: one line on stderr with the fix, the right exit code, no traceback, no partial file."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from tests.fakes.media import sound_clip
from tests.support.app import DEMO, SPEECH_FILM, clip


def fluxcaption(*arguments: str | Path, cache: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "XDG_CACHE_HOME": str(cache), "LANG": "C.UTF-8"}
    return subprocess.run(
        [sys.executable, "-m", "fluxcaption", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env=environment,
    )


def caption(media: Path, cache: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return fluxcaption(
        "caption",
        media,
        "--to",
        "es",
        "--model",
        "miniature",
        "--translator",
        "miniature",
        *options,
        cache=cache,
    )


def assert_error(result: subprocess.CompletedProcess[str], exit_code: int, *parts: str) -> None:
    """Assert that a command failed with one line that contains all parts."""
    assert result.returncode == exit_code, result.stderr
    assert "Traceback" not in result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    for part in parts:
        assert part in result.stderr


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.mkv", b"", "it is empty. Copy it again"),
        ("text.mkv", b"this is a shopping list\n" * 100, "not a media file"),
        (
            "noise.mp4",
            bytes(np.random.default_rng(1).integers(0, 256, 50_000, dtype=np.uint8)),
            "not a media file",
        ),
    ],
)
def test_a_file_that_is_not_media_is_reported(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    media = tmp_path / name
    media.write_bytes(content)
    assert_error(caption(media, tmp_path / "cache"), 1, name, words)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [name]


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    assert_error(caption(tmp_path / "gone.mkv", tmp_path / "cache"), 1, "gone.mkv", "does not exist")


def test_a_truncated_file_ends_without_a_traceback(tmp_path: Path) -> None:
    media = tmp_path / "half.mkv"
    whole = (DEMO / SPEECH_FILM / f"{SPEECH_FILM}.mkv").read_bytes()
    media.write_bytes(whole[: len(whole) // 2])
    result = caption(media, tmp_path / "cache")
    assert result.returncode in {0, 1}
    assert "Traceback" not in result.stderr


def test_media_without_audio_is_reported(tmp_path: Path) -> None:
    import av

    media = tmp_path / "silent film.mkv"
    with av.open(str(media), "w") as out:
        stream = out.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for number in range(10):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), dtype=np.uint8), format="rgb24")
            frame.pts = number
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    assert_error(caption(media, tmp_path / "cache"), 1, "no audio track")


def test_media_without_speech_is_reported(tmp_path: Path) -> None:
    time = np.arange(16_000 * 20) / 16_000
    media = sound_clip(
        tmp_path / "tone.mkv", [("eng", (0.1 * np.sin(2 * np.pi * 440 * time)).astype(np.float32))]
    )
    assert_error(caption(media, tmp_path / "cache"), 1, "contains no speech")


def test_a_missing_model_is_reported_with_its_path(tmp_path: Path) -> None:
    media = clip(tmp_path, SPEECH_FILM)
    result = fluxcaption(
        "caption", media, "--to", "en", "--model", tmp_path / "no model", cache=tmp_path / "cache"
    )
    assert_error(result, 75, "no model/config.json does not exist")


def test_a_missing_default_model_is_reported_with_its_path(tmp_path: Path) -> None:
    result = fluxcaption("caption", clip(tmp_path, SPEECH_FILM), "--to", "en", cache=tmp_path / "cache")
    assert_error(result, 75, str(tmp_path / "cache" / "fluxcaption" / "models" / "speech"))


def test_an_unknown_language_is_a_usage_error(tmp_path: Path) -> None:
    assert_error(
        fluxcaption("caption", "x.mkv", "--to", "klingonish", cache=tmp_path), 2, "names no language"
    )


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("Film.en.srt", b"", "empty"),
        ("Film.en.srt", b"\x00\x01\x02" * 5000, "not text"),
        ("Film.en.srt", b"just words, no times", "no cues"),
        ("Film.en.pdf", b"%PDF", "not a text subtitle format"),
        ("Film.en.srt", b"1\n00:00:01,000 --> 00:00:02,000\n" + b"a" * 30_000, "cue of more than"),
        ("Film.en.ttml", b'<!DOCTYPE x [<!ENTITY a "b">]><tt/>', "XML entities"),
        ("Film.en.srt", b"x" * (5 * 2**20), "larger than 4 MiB"),
    ],
)
def test_a_file_that_is_not_a_subtitle_is_reported(
    name: str, content: bytes, words: str, tmp_path: Path
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    assert_error(
        fluxcaption("translate", file, "--to", "es", "--translator", "miniature", cache=tmp_path / "cache"),
        1,
        name,
        words,
    )
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [name]


def test_a_subtitle_without_a_language_needs_from(tmp_path: Path) -> None:
    file = tmp_path / "Film.srt"
    file.write_bytes(b"1\n00:00:01,000 --> 00:00:02,000\nHello.\n")
    assert_error(
        fluxcaption("translate", file, "--to", "es", "--translator", "miniature", cache=tmp_path / "cache"),
        2,
        "--from LANG",
    )


CONFIG = """
server: {{type: folder, path: {path}}}
languages: {{targets: [en], when_spoken: make}}
backlog: {{mode: all}}
asr: {{backends: [{{type: local, model: miniature}}]}}
limits: {{disk_free: {free}}}
state: state
"""


def once(tmp_path: Path, *, path: str = "media", free: str = "0B") -> subprocess.CompletedProcess[str]:
    (tmp_path / "config.yaml").write_text(CONFIG.format(path=path, free=free), encoding="utf-8")
    return fluxcaption("run", "--once", "--config", tmp_path / "config.yaml", cache=tmp_path / "cache")


def test_a_missing_library_folder_exits_with_75(tmp_path: Path) -> None:
    result = once(tmp_path, path="nowhere")
    assert result.returncode == 75
    assert "nowhere gave no usable answer: the path does not exist" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_invalid_configuration_exits_with_78(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("server: 1\n", encoding="utf-8")
    result = fluxcaption("run", "--config", tmp_path / "config.yaml", cache=tmp_path)
    assert result.returncode == 78
    assert "config.yaml:1:1" in result.stderr


def test_a_full_disk_exits_with_75_and_writes_nothing(tmp_path: Path) -> None:
    clip(tmp_path / "media", SPEECH_FILM)
    result = once(tmp_path, free="900TiB")
    assert result.returncode == 75
    assert "wait" in result.stdout
    assert not list((tmp_path / "media").rglob("*.srt"))


def test_an_unreadable_film_does_not_stop_the_others(tmp_path: Path) -> None:
    clip(tmp_path / "media", SPEECH_FILM)
    (tmp_path / "media" / "Broken (2020).mkv").write_bytes(b"nothing")
    result = once(tmp_path)
    assert result.returncode == 0, result.stderr
    assert "1 subtitle(s) made" in result.stdout


@pytest.mark.skipif(
    os.geteuid() == 0 and not Path("/usr/bin/setpriv").exists(),
    reason="as root every folder is writable, and setpriv is not installed",
)
def test_a_read_only_library_folder_exits_with_75() -> None:
    with tempfile.TemporaryDirectory() as folder:
        _run_in_read_only_folder(Path(folder))


def _run_in_read_only_folder(tmp_path: Path) -> None:
    media = clip(tmp_path / "media", SPEECH_FILM)
    (tmp_path / "config.yaml").write_text(CONFIG.format(path="media", free="0B"), encoding="utf-8")
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o644)
    media.parent.chmod(0o555)
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    if (
        subprocess.run(
            [*as_nobody, sys.executable, "-c", "import fluxcaption, av"], capture_output=True, check=False
        ).returncode
        != 0
    ):
        pytest.skip("the interpreter lies where another user may not read")
    command = [
        *as_nobody,
        sys.executable,
        "-m",
        "fluxcaption",
        "run",
        "--once",
        "--config",
        str(tmp_path / "config.yaml"),
    ]
    result = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**os.environ, "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert result.returncode == 75, result.stderr
    assert "Give the daemon write access" in result.stderr
    assert [path.name for path in media.parent.iterdir()] == [media.name]
    media.parent.chmod(0o777)


@pytest.mark.parametrize("command", [("undo", "--item", ""), ("why", " ")])
def test_an_empty_item_name_is_a_usage_error(command: tuple[str, ...], tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    (tmp_path / "media").mkdir()
    config.write_text("server: {type: folder, path: media}\nlanguages: {targets: [es]}\nstate: state\n")
    result = fluxcaption(*command, "--config", config, cache=tmp_path / "cache")
    assert_error(result, 2, "an empty name or id names no item")
