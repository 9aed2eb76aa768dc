"""Subtitle files in and out: nothing lost, nothing hostile believed."""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from fluxcaption.domain.cues import Cue
from fluxcaption.domain.errors import SubtitleUnreadable
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.units import Ms
from fluxcaption.ports.subtitles import MAX_CUES
from fluxcaption.subtitles.codec import Pysubs2Codec
from hypothesis import given
from hypothesis import strategies as st

CODEC = Pysubs2Codec()
SRT = (
    "1\n00:00:01,000 --> 00:00:02,500\n{\\an8}<i>The man opens</i>\n<i>the door.</i>\n\n"
    "2\n00:00:03,000 --> 00:00:04,000 X1:1\na < b & c > d\n"
)
VTT = (
    "WEBVTT - mine\n\nSTYLE\n::cue {color: red}\n\nNOTE keep me\n\n"
    "id-1\n00:01.000 --> 00:02.500 line:10% align:start\n<v Ann>Hello &amp; goodbye.\n\n"
    "00:03.000 --> 00:04.000\nYes.\n"
)
ASS = (
    "[Script Info]\n; a comment\nTitle: mine\n\n"
    "[V4+ Styles]\nFormat: Name, Fontname\nStyle: Default,Arial\n\n[Events]\n"
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
    file_suffix = CODEC.rewrite("a.vtt", VTT.encode(), ["Hallo.", "Ja."]).decode()
    assert file_suffix == VTT.replace("<v Ann>Hello &amp; goodbye.", "<v Ann>Hallo.").replace("Yes.", "Ja.")


def test_ass_keeps_styles_comments_margins_and_drawings() -> None:
    read = CODEC.read("a.ass", ASS.encode())
    assert [cue.text for cue in read.cues] == ["Hello, you.", "Second line"]
    file_suffix = CODEC.rewrite("a.ass", ASS.encode(), ["Hallo, du.", "Zweite\nZeile"]).decode()
    assert file_suffix == ASS.replace("Hello, you.", "Hallo, du.").replace("Second\\Nline", "Zweite\\NZeile")


def test_a_text_that_is_the_same_leaves_the_file_as_it_was() -> None:
    read = CODEC.read("a.srt", SRT.encode())
    assert CODEC.rewrite("a.srt", SRT.encode(), ["\n".join(cue.lines) for cue in read.cues]).decode() == SRT


def test_other_formats_come_out_as_srt() -> None:
    sub = b"{25}{50}Hello there|second line\n{75}{100}Bye\n"
    read = CODEC.read("a.sub", sub)
    assert [cue.lines for cue in read.cues] == [("Hello there", "second line"), ("Bye",)]
    assert CODEC.rewrite("a.sub", sub, ["Hallo", "Ade"]).startswith(
        b"1\n00:00:01,000 --> 00:00:02,000\nHallo\n"
    )


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("The man <i>opens</i> the door.", "El hombre abre la puerta.", "El hombre <i>abre</i> la puerta."),
        (
            "{\\an8}<i>The man opens</i>\n<i>the door.</i>",
            "El hombre\nabre.",
            "{\\an8}<i>El hombre\nabre.</i>",
        ),
        ("- <i>Who is it?</i>\n- Me.", "- ¿Quién es?\n- Yo.", "- <i>¿Quién es?</i>\n- Yo."),
        ("<i>One</i> <b>two</b> three", "Uno", "<i><b>Uno</i></b>"),
    ],
)
def test_markup_is_transferred_to_the_same_part_of_the_translation(old: str, new: str, expected: str) -> None:
    content = f"1\n00:00:01,000 --> 00:00:02,000\n{old}\n"
    assert CODEC.rewrite("a.srt", content.encode(), [new]).decode() == content.replace(old, expected)


def test_ass_keeps_karaoke_and_the_fields_in_the_order_of_the_file() -> None:
    head = "[Events]\nFormat: Start, End, Layer, Style, Text\nDialogue: 0:00:01.00,0:00:02.00,0,Song,"
    read = CODEC.read("a.ass", f"{head}{{\\k20}}Where {{\\k30}}is {{\\k10}}the cat?\n".encode())
    assert [(cue.text, cue.style, cue.start) for cue in read.cues] == [("Where is the cat?", "Song", 1000)]
    file_suffix = CODEC.rewrite(
        "a.ass", f"{head}{{\\k20}}Where {{\\k30}}is {{\\k10}}the cat?\n".encode(), ["¿Dónde está el gato?"]
    ).decode()
    assert file_suffix == f"{head}{{\\k20}}¿Dónde {{\\k30}}está {{\\k10}}el gato?\n"


def test_signs_that_mean_something_in_webvtt_are_written_as_its_entities() -> None:
    file_suffix = CODEC.rewrite("a.vtt", VTT.encode(), ["a < b & c --> d", "Ja."])
    assert b"<v Ann>a &lt; b &amp; c --&gt; d\n" in file_suffix
    assert CODEC.read("a.vtt", file_suffix).cues[0].text == "a < b & c --> d"


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("encoding", "written_as"),
    [("utf-8", "utf-8"), ("utf-8-sig", "utf-8-sig"), ("utf-16", "utf-8-sig"), ("cp1252", "utf-8")],
)
def test_line_ends_and_byte_order_mark_stay(newline: str, encoding: str, written_as: str) -> None:
    text = "1\n00:00:01,000 --> 00:00:02,000\nSeñor.\n\n".replace("\n", newline)
    assert CODEC.rewrite("a.srt", text.encode(encoding), ["Uno."]) == text.replace("Señor.", "Uno.").encode(
        written_as
    )


@pytest.mark.parametrize(
    ("language", "encoding", "text"),
    [
        ("ru", "cp1251", "Мужчина открывает дверь. Где моя кошка?"),
        ("ru", "koi8-r", "Мужчина открывает дверь. Где моя кошка?"),
        ("el", "cp1253", "Πού είναι η γάτα; Καλημέρα."),
        ("pl", "cp1250", "Mężczyzna otwiera drzwi, zażółć gęślą jaźń."),
        ("tr", "cp1254", "Kapıyı açan adam güneşi gördü."),
        ("he", "cp1255", "איפה החתול שלי?"),
        ("ar", "cp1256", "أين القطة؟ صباح الخير."),
        ("th", "cp874", "แมวอยู่ที่ไหน"),
        ("ja", "cp932", "これは猫です。TVを見る。"),
        ("ja", "euc_jp", "これは猫です。"),
        ("ko", "cp949", "고양이는 어디에 있나요?"),
        ("zh", "gb18030", "猫在哪里？你好，世界。"),
        ("zh-TW", "big5", "貓在哪裡？你好。"),
    ],
)
def test_an_old_code_page_is_selected_by_the_language_only(language: str, encoding: str, text: str) -> None:
    content = f"1\n00:00:01,000 --> 00:00:02,000\n{text}\n".encode(encoding)
    assert CODEC.read("a.srt", content, LanguageTag.parse(language)).cues[0].text == text
    if language not in {"pl", "tr"}:
        with pytest.raises(SubtitleUnreadable, match="encoding"):
            CODEC.read("a.srt", content, LanguageTag("en"))


def test_a_few_lines_in_another_encoding_are_decoded() -> None:
    content = (
        "1\n00:00:01,000 --> 00:00:02,000\nCafé\n\n2\n00:00:03,000 --> 00:00:04,000\n".encode()
        + "Señor\n".encode("cp1252")
    )
    assert [cue.text for cue in CODEC.read("a.srt", content).cues] == ["Café", "Señor"]


def test_text_after_an_empty_line_belongs_to_the_cue() -> None:
    content = (
        "1\n00:00:01,000 --> 00:00:02,000\n\nOne.\n\nTwo.\n40\n\n"
        "2\n00:00:03,000 --> 00:00:04,000\nThree.\n\nFour.\n"
    )
    assert [cue.lines for cue in CODEC.read("a.srt", content.encode()).cues] == [
        ("One.", "Two.", "40"),
        ("Three.", "Four."),
    ]
    file_suffix = CODEC.rewrite("a.srt", content.encode(), ["Uno.", "Tres."]).decode()
    assert (
        file_suffix == "1\n00:00:01,000 --> 00:00:02,000\nUno.\n\n2\n00:00:03,000 --> 00:00:04,000\nTres.\n"
    )


def test_the_frame_rate_at_the_top_of_a_microdvd_file_is_believed() -> None:
    (cue,) = CODEC.read("a.sub", b"{1}{1}23.976\n{2400}{2448}Hello there\n").cues
    assert (cue.start, cue.end, cue.text) == (100_100, 102_102, "Hello there")


def test_a_long_ttml_file_may_be_one_line() -> None:
    cues = "".join(
        f'<p begin="00:{minute:02d}:{second:02d}.000" end="00:{minute:02d}:{second:02d}.900">Hi</p>'
        for minute, second in (divmod(number, 60) for number in range(1000))
    )
    content = f'<tt xmlns="http://www.w3.org/ns/ttml"><body><div>{cues}</div></body></tt>'
    assert len(CODEC.read("a.ttml", content.encode()).cues) == 1000


HOSTILE = {
    "tags.srt": "1\n00:00:01,000 --> 00:00:02,000\n" + ("<v " * 6_000 + "\n") * 200,
    "brackets.srt": "1\n00:00:01,000 --> 00:00:02,000\n" + ("<" * 19_999 + "\n") * 200,
    "entities.srt": "1\n00:00:01,000 --> 00:00:02,000\n" + ("&#x;" * 4_999 + "\n") * 200,
    "words.srt": "".join(f"{n}\n00:00:01,000 --> 00:00:02,000\n{'a ' * 999}\n\n" for n in range(600)),
    "lines.srt": "1\n00:00:01,000 --> 00:00:02,000\n" + "ab\n" * 1_300_000,
    "line.srt": "1\n00:00:01,000 --> 00:00:02,000\n" + "a" * 4_000_000,
    "arrows.srt": ("00:00:01,000 --> " * 1_100 + "\n") * 200,
    "cues.srt": "1\n00:00:01,000 --> 00:00:02,000\nx\n\n" * MAX_CUES,
    "scales.ass": "[Events]\nDialogue: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,{" + "\\p1" * 1_000_000,
    "overrides.ass": "[Events]\n"
    + ("Dialogue: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,," + "{\\an8" * 2_000 + "\n") * 300,
    "spans.ttml": '<tt xmlns="http://www.w3.org/ns/ttml"><body><div>'
    + "<span>" * 100_000
    + "</span>" * 100_000
    + "</div></body></tt>",
    "sync.smi": "<SAMI><BODY>" + "<SYNC Start=1><P>" * 9_900,
    "codes.sub": "{1}{2}" + "{y:i}" * 800_000,
}
READ = """
import resource, sys, time
from pathlib import Path
from fluxcaption.domain.errors import SubtitleUnreadable
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.sentences import group_into_sentences
from fluxcaption.domain.shaping import distribute_lines, fit_translation
from fluxcaption.subtitles.codec import Pysubs2Codec
import pysubs2
file = Path(sys.argv[1])
content = file.read_bytes()
used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
began = time.process_time()
try:
    spoken = group_into_sentences(Pysubs2Codec().read(file.name, content).cues)
    for sentence in spoken:
        fit_translation(sentence.text, sentence.cues, LanguageTag("es"))
    texts = [
        text
        for sentence in spoken
        for text in distribute_lines(sentence.text, sentence.cues, LanguageTag("es"))
    ]
    Pysubs2Codec().rewrite(file.name, content, texts)
except SubtitleUnreadable:
    pass
print(time.process_time() - began, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used) / 1024)
"""


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_take_bounded_time_and_memory(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(HOSTILE[name])
    finished = subprocess.run(
        [sys.executable, "-c", READ, str(tmp_path / name)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    seconds, mebibytes = map(float, finished.stdout.split())
    # Many times what it takes, and a small part of what it took unbounded.
    assert seconds < 15
    assert mebibytes < 100


CUES = st.lists(
    st.tuples(
        st.integers(0, 10**7),
        st.integers(1, 10**5),
        st.lists(
            st.text("abc äß…'<&", min_size=1, max_size=20).filter(lambda line: line.strip()),
            min_size=1,
            max_size=2,
        ),
    ),
    min_size=1,
    max_size=10,
)


@given(CUES)
def test_written_text_is_read_back_unchanged(parts: list[tuple[int, int, list[str]]]) -> None:
    cues = [
        Cue(Ms(start), Ms(start + length), tuple(" ".join(line.split()) for line in lines))
        for start, length, lines in parts
    ]
    read = CODEC.read("a.srt", CODEC.write_srt(cues))
    assert [(cue.start, cue.end) for cue in read.cues] == [(cue.start, cue.end) for cue in cues]


def test_too_many_cues_are_refused_before_they_are_parsed() -> None:
    with pytest.raises(SubtitleUnreadable, match="more than"):
        CODEC.read("a.srt", b"1\n00:00:01,000 --> 00:00:02,000\nx\n\n" * (MAX_CUES + 1))


@given(
    st.binary(max_size=2000),
    st.sampled_from(["a.srt", "a.vtt", "a.ass", "a.ssa", "a.sub", "a.smi", "a.ttml"]),
)
def test_no_bytes_bring_anything_but_cues_or_a_sentence(content: bytes, name: str) -> None:
    with suppress(SubtitleUnreadable):
        assert all(cue.end > cue.start >= 0 for cue in CODEC.read(name, content).cues)


@given(st.text("{}<>\\/bi0123456789-:,. >\nDialogue", max_size=400))
def test_hostile_text_is_bounded(text: str) -> None:
    with suppress(SubtitleUnreadable):
        CODEC.read("a.srt", f"1\n00:00:01,000 --> 00:00:02,000\n{text}\n".encode())
