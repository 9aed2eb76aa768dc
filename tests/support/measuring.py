"""Word error rate of a transcript."""

import re
from collections.abc import Sequence


def words_of(text: str) -> list[str]:
    """Return the words in lower case, without punctuation."""
    return re.findall(r"[\w']+", text.lower())


def word_errors(spoken: Sequence[str], transcribed: Sequence[str]) -> int:
    """Return the smallest number of inserted, deleted and changed words."""
    row = list(range(len(transcribed) + 1))
    for at, word in enumerate(spoken, 1):
        before, row[0] = row[0], at
        for number, other in enumerate(transcribed, 1):
            before, row[number] = (
                row[number],
                min(row[number] + 1, row[number - 1] + 1, before + (word != other)),
            )
    return row[-1]


def word_error_rate(spoken: str, transcribed: str) -> float:
    """Return the number of word errors divided by the number of spoken words."""
    return word_errors(words_of(spoken), words_of(transcribed)) / len(words_of(spoken))
