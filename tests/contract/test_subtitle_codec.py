"""Subtitle files in and out: nothing lost, nothing hostile believed."""

from contextlib import suppress

import pytest
from fluxcaption.domain.cues import Cue
from fluxcaption.domain.errors import SubtitleUnreadable
from fluxcaption.domain.units import Ms
from fluxcaption.subtitles.codec import MOST_CUES, Pysubs2Codec
from hypothesis import given
from hypothesis import strategies as st

CODEC = Pysubs2Codec()
SRT = "1\n00:00:01,000 --> 00:00:02,500\n{\\an8}<i>The man opens</i>\n<i>the door.</i>\n\n2\n00:00:03,000 --> 00:00:04,000 X1:1\na < b & c > d\n"
VTT = "WEBVTT - mine\n\nSTYLE\n::cue {color: red}\n\nNOTE keep me\n\nid-1\n00:01.000 --> 00:02.500 line:10% align:start\n<v Ann>Hello &amp; goodbye.\n\n00:03.000 --> 00:04.000\nYes.\n"
ASS = (
    "[Script Info]\n; a comment\nTitle: mine\n\n[V4+ Styles]\nFormat: Name, Fontname\nStyle: Default,Arial\n\n[Events]\n"
    "Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
    "Comment: 0,0:00:00.00,0:00:05.00,Default,,0,0,0,,never shown\n"
    "Dialogue: 0,0:00:01.00,0:00:02.50,Default,Ann,10,20,30,,{\\i1}Hello, you.{\\i0}\n"
    "Dialogue: 0,0:00:01.00,0:00:02.50,Default,,0,0,0,,{\\p1}m 0 0 l 100 0 100 100{\\p0}\n"
    "Dialogue: 0,0:00:03.00,0:00:04.00,Default,,0,0,0,,Second\\Nline\n"
)


def test_tags_are_not_words_but_signs_are() -> None:
    read = CODEC.read("a.srt", SRT.encode())
    assert [cue.lines for cue in read.cues] == [("The man opens", "the door."), ("a < b & c > d",)]
    assert [(cue.start, cue.end) for cue in read.cues] == [(1000, 2500), (3000, 4000)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_old_encodings_and_line_ends_are_read(encoding: str, newline: str) -> None:
    content = "1\n00:00:01,000 --> 00:00:02,000\nÜber alles – señor\n".replace("\n", newline).encode(encoding)
    assert CODEC.read("a.srt", content).cues[0].text == "Über alles – señor"


def test_webvtt_keeps_all_but_the_text() -> None:
    read = CODEC.read("a.vtt", VTT.encode())
    assert [cue.text for cue in read.cues] == ["Hello & goodbye.", "Yes."]
    written = CODEC.rewrite("a.vtt", VTT.encode(), ["Hallo.", "Ja."]).decode()
    assert written == VTT.replace("<v Ann>Hello &amp; goodbye.", "<v Ann>Hallo.").replace("Yes.", "Ja.")


def test_ass_keeps_styles_comments_margins_and_drawings() -> None:
    read = CODEC.read("a.ass", ASS.encode())
    assert [cue.text for cue in read.cues] == ["Hello, you.", "Second line"]
    written = CODEC.rewrite("a.ass", ASS.encode(), ["Hallo, du.", "Zweite\nZeile"]).decode()
    assert written == ASS.replace("Hello, you.", "Hallo, du.").replace("Second\\Nline", "Zweite\\NZeile")


def test_a_text_that_is_the_same_leaves_the_file_as_it_was() -> None:
    read = CODEC.read("a.srt", SRT.encode())
    assert CODEC.rewrite("a.srt", SRT.encode(), ["\n".join(cue.lines) for cue in read.cues]).decode() == SRT


def test_other_formats_come_out_as_srt() -> None:
    sub = b"{25}{50}Hello there|second line\n{75}{100}Bye\n"
    read = CODEC.read("a.sub", sub)
    assert [cue.lines for cue in read.cues] == [("Hello there", "second line"), ("Bye",)]
    assert CODEC.rewrite("a.sub", sub, ["Hallo", "Ade"]).startswith(b"1\n00:00:01,000 --> 00:00:02,000\nHallo\n")


CUES = st.lists(
    st.tuples(
        st.integers(0, 10**7),
        st.integers(1, 10**5),
        st.lists(st.text("abc äß…'<&", min_size=1, max_size=20).filter(lambda line: line.strip()), min_size=1, max_size=2),
    ),
    min_size=1,
    max_size=10,
)


@given(CUES)
def test_what_is_written_is_read_again(parts: list[tuple[int, int, list[str]]]) -> None:
    cues = [Cue(Ms(start), Ms(start + length), tuple(" ".join(line.split()) for line in lines)) for start, length, lines in parts]
    read = CODEC.read("a.srt", CODEC.write_srt(cues))
    assert [(cue.start, cue.end) for cue in read.cues] == [(cue.start, cue.end) for cue in cues]


def test_too_many_cues_are_refused_before_they_are_parsed() -> None:
    with pytest.raises(SubtitleUnreadable, match="more than"):
        CODEC.read("a.srt", b"1\n00:00:01,000 --> 00:00:02,000\nx\n\n" * (MOST_CUES + 1))


@given(st.binary(max_size=2000), st.sampled_from(["a.srt", "a.vtt", "a.ass", "a.ssa", "a.sub", "a.smi", "a.ttml"]))
def test_no_bytes_bring_anything_but_cues_or_a_sentence(content: bytes, name: str) -> None:
    with suppress(SubtitleUnreadable):
        assert all(cue.end > cue.start >= 0 for cue in CODEC.read(name, content).cues)


@given(st.text("{}<>\\/bi0123456789-:,. >\nDialogue", max_size=400))
def test_hostile_text_is_bounded(text: str) -> None:
    with suppress(SubtitleUnreadable):
        CODEC.read("a.srt", f"1\n00:00:01,000 --> 00:00:02,000\n{text}\n".encode())
