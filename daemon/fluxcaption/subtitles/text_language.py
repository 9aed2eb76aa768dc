"""Detection of the language of a text by py3langid."""

import threading
from typing import Any

from fluxcaption.domain.language import LanguageTag, normalize

MAX_CHARS = 6000
"""Characters that are classified; more do not improve the result."""

MIN_CHARS = 40
MIN_PROBABILITY = 0.8


class TextLanguageDetector:
    """TextLanguage with a model of 93 MB that is loaded with the first text."""

    def __init__(self) -> None:
        self._identifier: Any = None
        self._lock = threading.Lock()

    def detect(self, text: str) -> LanguageTag | None:
        """Return the language; None for less than `MIN_CHARS` or a probability below `MIN_PROBABILITY`."""
        if len(text) < MIN_CHARS:
            return None
        with self._lock:
            if self._identifier is None:
                from py3langid.langid import MODEL_FILE, LanguageIdentifier

                self._identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
            code, probability = self._identifier.classify(text[:MAX_CHARS])
        return normalize(str(code)) if float(probability) >= MIN_PROBABILITY else None

    @property
    def is_loaded(self) -> bool:
        """Return True if the model is in memory."""
        return self._identifier is not None

    def unload(self) -> None:
        """Free the memory of the model."""
        with self._lock:
            self._identifier = None
