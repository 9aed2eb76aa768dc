"""What of a language model's answer is believed."""

import json

import pytest
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.units import UnitId
from fluxcaption.domain.work import TextUnit
from fluxcaption.translation.replies import read_reply

EN, DE = LanguageTag("en"), LanguageTag("de")
UNITS = [TextUnit(UnitId("1"), "The man opens the door."), TextUnit(UnitId("2"), "Where is the horse?")]
GOOD = {"1": {"source": "The man opens the door.", "text": "Der Mann öffnet die Tür."}, "2": {"source": "Where is the horse?", "text": "Wo ist das Pferd?"}}


def believed(reply: str) -> set[str]:
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
        ('{"1": {"source": "The man opens the door.", "text": "A"}, "1": {"source": "The man opens the door.", "text": "B"}}', set()),
        ("{" * 100_000, set()),
    ],
)  # fmt: skip
def test_each_answer_is_believed_or_refused_by_itself(reply: str, expected: set[str]) -> None:
    assert believed(reply) == expected


def test_direction_marks_around_an_answer_are_dropped() -> None:
    reply = changed(**{"1": {"source": UNITS[0].text, "text": "\u200f Der Mann\nöffnet die Tür. \u200f"}})
    assert read_reply(reply, UNITS, EN, DE)[UnitId("1")] == "Der Mann öffnet die Tür."
