"""Line breaking."""

from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.line_breaking import limits_of, width, wrap
from hypothesis import given
from hypothesis import strategies as st

EN, ZH = LanguageTag("en"), LanguageTag("zh")


def test_a_line_does_not_end_with_an_article() -> None:
    lines = wrap("The old farmer carries the beautiful yellow basket to the market", EN)
    assert len(lines) == 2
    assert lines[0].split()[-1] not in {"the", "to"}


def test_chinese_breaks_between_characters_but_not_before_a_full_stop() -> None:
    lines = wrap("我们昨天晚上在花园里看见了一只很大的黑色的狗和一只白色的猫。", ZH)
    assert all(width(line, ZH) <= limits_of(ZH).line_width for line in lines)
    assert not any(line.startswith("。") for line in lines)


ENGLISH_TEXTS = st.lists(
    st.sampled_from(["the", "I", "of", "house", "sister", "garden", "runs", '"the']), min_size=9, max_size=20
).map(" ".join)


@given(ENGLISH_TEXTS)
def test_a_line_ends_with_an_article_only_without_another_fitting_break(text: str) -> None:
    lines = wrap(text, EN)
    words = text.split()
    breaks = [(" ".join(words[:at]), " ".join(words[at:]), words[at - 1]) for at in range(1, len(words))]
    if len(lines) == 2 and any(
        len(first) <= 42 and len(second) <= 42 and last in {"house", "sister", "garden", "runs"}
        for first, second, last in breaks
    ):
        assert lines[0].split()[-1] in {"house", "sister", "garden", "runs"}
