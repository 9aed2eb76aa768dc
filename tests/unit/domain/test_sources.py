"""Marks of machine-made tracks."""

import pytest
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.media import SubtitleTrack
from fluxcaption.domain.sources import is_machine_made


def titled(title: str) -> SubtitleTrack:
    return SubtitleTrack("1", LanguageTag("en"), "subrip", title=title, ordinal=0)


@pytest.mark.parametrize(
    "title",
    [
        "Auto-generated", "AI-generated", "faster-whisper", "machine-translated", "English (auto)",
        "AI translated", "DeepL", "ChatGPT", "WhisperX", "WhisperAI", "subgen.medium",
        "automatic captions", "gpt-4o",
    ],
)  # fmt: skip
def test_the_title_of_another_tool_marks_a_machine_made_track(title: str) -> None:
    assert is_machine_made(titled(title), "fluxcaption")


@pytest.mark.parametrize(
    "title",
    [
        "English", "Full", "Translated by Anna", "Machinery", "Aida",
    ],
)  # fmt: skip
def test_the_title_of_a_human_is_no_mark(title: str) -> None:
    assert not is_machine_made(titled(title), "fluxcaption")
