"""What of a language model's answer is believed."""

import json

import pytest
from fluxcaption.domain.cues import TextUnit
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.units import UnitId
from fluxcaption.translation.replies import read_reply

EN, DE = LanguageTag("en"), LanguageTag("de")
UNITS = [TextUnit(UnitId("1"), "The man opens the door."), TextUnit(UnitId("2"), "Where is the horse?")]
GOOD = {
    "1": {"source": "The man opens the door.", "text": "Der Mann öffnet die Tür."},
    "2": {"source": "Where is the horse?", "text": "Wo ist das Pferd?"},
}


def accepted(reply: str) -> set[str]:
    return set(read_reply(reply, UNITS, EN, DE))


def changed(**entries: object) -> str:
    return json.dumps({**GOOD, **entries})


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (json.dumps(GOOD), {"1", "2"}),
        ("Sure! Here it is:\n```json\n" + json.dumps(GOOD) + "\n```\nAnything else?", {"1", "2"}),
        ("<think>{\"1\": 3}</think>" + json.dumps(GOOD), {"1", "2"}),
        ("<think>never ends", set()),
        (json.dumps(GOOD)[:-20], set()),
        ("", set()),
        ("I cannot help with that.", set()),
        ("<html>502</html>", set()),
        (json.dumps([GOOD]), {"1", "2"}),
        (json.dumps({"1": GOOD["1"]}), {"1"}),
        (json.dumps({**GOOD, "3": GOOD["1"]}), {"1", "2"}),
        (json.dumps({"1": GOOD["2"], "2": GOOD["1"]}), set()),
        (changed(**{"1": {"source": UNITS[0].text, "text": ""}}), {"2"}),
        (changed(**{"1": {"source": UNITS[0].text, "text": UNITS[0].text}}), {"2"}),
        (changed(**{"1": {"source": UNITS[0].text, "text": "Tür " * 100}}), {"2"}),
        (changed(**{"1": {"source": UNITS[0].text, "text": "Der\x00Mann"}}), {"2"}),
        (changed(**{"1": {"source": UNITS[0].text, "text": "\ud800"}}), {"2"}),
        (changed(**{"1": "Der Mann öffnet die Tür."}), {"2"}),
        (changed(**{"1": {"source": 1, "text": 2}}), {"2"}),
        (
            '{"1": {"source": "The man opens the door.", "text": "A"},'
            ' "1": {"source": "The man opens the door.", "text": "B"}}',
            set(),
        ),
        ("{" * 100_000, set()),
    ],
)  # fmt: skip
def test_each_translation_of_a_reply_is_accepted_or_refused_separately(
    reply: str, expected: set[str]
) -> None:
    assert accepted(reply) == expected


SPOKEN = [
    ("The man opens the door.", "Der Mann öffnet die Tür."),
    ("Where is the horse?", "Wo ist das Pferd?"),
    (
        "My sister sells twelve red cars in the old town every year.",
        "Meine Schwester verkauft jedes Jahr zwölf rote Autos in der Altstadt.",
    ),
    ("No.", "Nein."),
    ("We saw Anna at 10 o'clock.", "Wir haben Anna um 10 Uhr gesehen."),
    ("Why?", "Warum?"),
    ("I never said that.", "Das habe ich nie gesagt."),
    (
        "Please close the window before it begins to rain again.",
        "Bitte mach das Fenster zu, bevor es wieder zu regnen beginnt.",
    ),
]


@pytest.mark.parametrize(
    ("order", "is_shifted"),
    [
        ([0, 1, 2, 3, 4, 5, 6, 7], False),
        ([1, 2, 3, 4, 5, 6, 7, 0], True),
        ([7, 0, 1, 2, 3, 4, 5, 6], True),
        ([0, 1, 2, 4, 5, 6, 7, 3], True),
        ([7, 6, 5, 4, 3, 2, 1, 0], True),
    ],
)
def test_shifted_translations_are_refused_even_with_the_right_echo(
    order: list[int], is_shifted: bool
) -> None:
    units = [TextUnit(UnitId(str(number)), source) for number, (source, _) in enumerate(SPOKEN)]
    reply = json.dumps(
        {
            unit.id: {"source": unit.text, "text": SPOKEN[place][1]}
            for unit, place in zip(units, order, strict=True)
        }
    )
    assert len(read_reply(reply, units, EN, DE)) == (0 if is_shifted else len(units))


def test_direction_marks_around_a_translation_are_removed() -> None:
    reply = changed(**{"1": {"source": UNITS[0].text, "text": "\u200f Der Mann\nöffnet die Tür. \u200f"}})
    assert read_reply(reply, UNITS, EN, DE)[UnitId("1")] == "Der Mann öffnet die Tür."
