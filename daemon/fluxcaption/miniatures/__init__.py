"""Paths of the miniature models of the demo, the self-test and the tests; too small for real media."""

from pathlib import Path

SPEECH = Path(__file__).parent / "speech"
TRANSLATION = Path(__file__).parent / "translation"
