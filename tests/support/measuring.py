"""Word error rate of a transcript against the spoken words."""

import re
from collections.abc import Sequence


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case, without punctuation."""
    return re.findall(r"[\w']+", text.lower())


def word_errors(spoken: Sequence[str], transcribed: Sequence[str]) -> int:
    """Return the smallest number of inserted, missing or changed words."""
    distances = list(range(len(transcribed) + 1))
    for position, word in enumerate(spoken, 1):
        diagonal, distances[0] = distances[0], position
        for column, candidate in enumerate(transcribed, 1):
            diagonal, distances[column] = (
                distances[column],
                min(distances[column] + 1, distances[column - 1] + 1, diagonal + (word != candidate)),
            )
    return distances[-1]


def word_error_rate(spoken: str, transcribed: str) -> float:
    """Return the number of word errors divided by the number of spoken words."""
    return word_errors(words_of(spoken), words_of(transcribed)) / len(words_of(spoken))
