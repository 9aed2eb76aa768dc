"""Where the miniature models lie: for the demo, the self-test and our tests; nobody's films."""

from pathlib import Path

SPEECH = Path(__file__).parent / "speech"
TRANSLATION = Path(__file__).parent / "translation"
