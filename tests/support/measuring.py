"""How far words and times are from what is known."""

import re
from collections.abc import Sequence


def words_of(text: str) -> list[str]:
    """Lower-case words without punctuation."""
    return re.findall(r"[\w']+", text.lower())


def word_errors(said: Sequence[str], heard: Sequence[str]) -> int:
    """Least number of words put in, left out or changed."""
    row = list(range(len(heard) + 1))
    for at, word in enumerate(said, 1):
        before, row[0] = row[0], at
        for number, other in enumerate(heard, 1):
            before, row[number] = (
                row[number],
                min(row[number] + 1, row[number - 1] + 1, before + (word != other)),
            )
    return row[-1]


def word_error_rate(said: str, heard: str) -> float:
    """Word errors by words said."""
    return word_errors(words_of(said), words_of(heard)) / len(words_of(said))
