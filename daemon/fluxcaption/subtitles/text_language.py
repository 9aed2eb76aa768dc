"""Tells what language a text is in; the door of py3langid."""

import threading
from typing import Any

from fluxcaption.domain.language import LanguageTag, normalize

MAX_LETTERS = 6000
"""A longer text tells no more."""

MIN_LETTERS = 40
SURE = 0.8


class TextLanguageDetector:
    """Loads its model with the first text (93 MB, libraries sheet) and gives it back when asked."""

    def __init__(self) -> None:
        self._identifier: Any = None
        self._lock = threading.Lock()

    def detect(self, text: str) -> LanguageTag | None:
        """The language; None for a text that is too short or could be several."""
        if len(text) < MIN_LETTERS:
            return None
        with self._lock:
            if self._identifier is None:
                from py3langid.langid import MODEL_FILE, LanguageIdentifier

                self._identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
            language, sureness = self._identifier.classify(text[:MAX_LETTERS])
        return normalize(str(language)) if float(sureness) >= SURE else None

    @property
    def is_loaded(self) -> bool:
        """Whether the model is in memory."""
        return self._identifier is not None

    def unload(self) -> None:
        """Give the memory back."""
        with self._lock:
            self._identifier = None
