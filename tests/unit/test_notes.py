"""The notes that comments cite: every citation leads to a fact, and every fact names tests that exist."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTES = ROOT / "daemon" / "fluxcaption" / "notes"
LETTERS = {"jellyfin-server": "J", "subtitle-craft": "C", "faults": "F", "libraries": "L"}
NOTE_BY_LETTER = {letter: note for note, letter in LETTERS.items()}

_FACT = re.compile(r"^\*\*([A-Z]\d+)\. ", re.MULTILINE)
_CITATION = re.compile(r"notes/([a-z-]+)\.md((?:(?:,| and| to)? [A-Z]\d+)*)")
_SHORT = re.compile(r"\(([JCFL]\d+(?:(?:,| and| to) [JCFL]\d+)*)\)")
_NUMBER = re.compile(r"[A-Z]\d+")
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def facts_of(note: str) -> list[str]:
    return _FACT.findall((NOTES / f"{note}.md").read_text(encoding="utf-8"))


def citations() -> Iterator[tuple[Path, str, list[str]]]:
    """Yield file, note and facts of each citation, also of short ones such as `(J18)` and of broken lines."""
    for folder in ("daemon", "tests"):
        for file in sorted((ROOT / folder).rglob("*")):
            if file.suffix in {".py", ".sql", ".md"}:
                text = re.sub(r"\s*\n\s*(?:#|--)?\s*", " ", file.read_text(encoding="utf-8"))
                for note, numbers in _CITATION.findall(text):
                    yield file.relative_to(ROOT), note, _NUMBER.findall(numbers)
                for numbers in _SHORT.findall(text):
                    for number in _NUMBER.findall(numbers):
                        yield file.relative_to(ROOT), NOTE_BY_LETTER[number[0]], [number]


@pytest.mark.parametrize(("note", "letter"), LETTERS.items())
def test_facts_of_a_note_are_numbered_without_a_gap(note: str, letter: str) -> None:
    facts = facts_of(note)
    assert facts == [f"{letter}{number}" for number in range(1, len(facts) + 1)]
    assert facts


def test_each_cited_fact_exists() -> None:
    missing = [
        f"{file}: notes/{note}.md {number}"
        for file, note, numbers in citations()
        for number in numbers or [""]
        if note not in LETTERS or (number and number not in facts_of(note))
    ]
    assert not missing, "\n".join(missing)


@pytest.mark.parametrize(("note", "letter"), LETTERS.items())
def test_a_note_refers_only_to_facts_it_has(note: str, letter: str) -> None:
    text = (NOTES / f"{note}.md").read_text(encoding="utf-8")
    assert set(re.findall(rf"\b{letter}\d+\b", text)) == set(facts_of(note))


@pytest.mark.parametrize("note", LETTERS)
def test_each_test_named_in_a_note_exists(note: str) -> None:
    missing = [
        f"{file}::{name}"
        for file, name in _TEST.findall((NOTES / f"{note}.md").read_text(encoding="utf-8"))
        if not (ROOT / file).is_file()
        or re.search(rf"^\s*(?:async )?def {name}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
        is None
    ]
    assert not missing, "\n".join(missing)


@pytest.mark.parametrize("note", LETTERS)
def test_each_fact_names_its_tests_or_says_that_none_holds_it(note: str) -> None:
    _, *facts = re.split(
        r"^(?=\*\*[A-Z]\d+\. )", (NOTES / f"{note}.md").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    silent = [fact[:60] for fact in facts if not _TEST.search(fact) and "Not covered by a test." not in fact]
    assert not silent, "\n".join(silent)
