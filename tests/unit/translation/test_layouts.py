"""Token layouts of translation models."""

import json
from pathlib import Path

import pytest
from fluxcaption.domain.errors import ModelMissing
from fluxcaption.domain.language import LanguageTag
from fluxcaption.translation.layouts import CARD, read_layout

EN, DE = LanguageTag("en"), LanguageTag("de")


def card(directory: Path, **value: object) -> Path:
    (directory / CARD).write_text(json.dumps(value))
    return directory


@pytest.mark.parametrize(
    ("name", "languages", "expected"),
    [
        ("m2m100", {"en": "__en__", "de": "__de__"}, (["__en__", "_Hi", "</s>"], ["__de__"])),
        ("nllb", {"en": "eng_Latn", "de": "deu_Latn"}, (["eng_Latn", "_Hi", "</s>"], ["deu_Latn"])),
        ("madlad", {"en": "<2en>", "de": "<2de>"}, (["<2de>", "_Hi", "</s>"], None)),
    ],
)
def test_language_tokens_are_where_the_models_of_a_layout_expect_them(
    name: str, languages: dict[str, str], expected: tuple[list[str], list[str] | None], tmp_path: Path
) -> None:
    layout = read_layout(card(tmp_path, layout=name, languages=languages), "auto")
    assert (layout.source_tokens(["_Hi"], EN, DE), layout.target_prefix(DE)) == expected


@pytest.mark.parametrize(
    ("tokens", "name"), [(["__en__", "__de__", "a"], "m2m100"), (["<2en>", "<2de>", "<pad>"], "madlad")]
)
def test_the_layout_of_a_model_without_a_card_is_read_from_its_vocabulary(
    tokens: list[str], name: str, tmp_path: Path
) -> None:
    (tmp_path / "shared_vocabulary.json").write_text(json.dumps(tokens))
    layout = read_layout(tmp_path, "auto")
    assert (layout.name, layout.knows(EN, DE), layout.knows(EN, LanguageTag("fr"))) == (name, True, False)


def test_an_unknown_layout_is_rejected_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match="marian is none of m2m100, nllb, madlad"):
        read_layout(card(tmp_path, layout="marian"), "auto")
