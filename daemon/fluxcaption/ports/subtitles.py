"""Subtitle files: reading, writing and language detection."""

from collections.abc import Sequence
from typing import Protocol

from fluxcaption.domain.cues import Cue, SubtitleText
from fluxcaption.domain.language import LanguageTag

MAX_SUBTITLE_BYTES = 4 * 2**20
MAX_CUES = 20_000


class SubtitleCodec(Protocol):
    """Reader and writer of subtitle files; blocking."""

    def read(self, name: str, content: bytes, language: LanguageTag | None = None) -> SubtitleText:
        """Read a file whose extension names a supported format.

        `language` selects the encodings that are tried for a file that is not UTF-8 or UTF-16.

        Raises:
            SubtitleUnreadable: The file is not a text subtitle, its encoding is unknown, or it exceeds
                `MAX_SUBTITLE_BYTES` or `MAX_CUES`.
        """

    def write_srt(self, cues: Sequence[Cue]) -> bytes:
        """Return the cues as SubRip: UTF-8 without byte order mark, line feeds."""

    def rewrite(
        self, name: str, content: bytes, texts: Sequence[str], language: LanguageTag | None = None
    ) -> bytes:
        """Replace the texts of the cues, in the order that `read` returns, and keep the rest of the file.

        Formats without a writer (ttml, sami, MicroDVD) are returned as SubRip.

        Raises:
            SubtitleUnreadable: As `read` raises it.
            ValueError: The number of texts differs from the number of cues.
        """


class TextLanguage(Protocol):
    """Detector of the language of a text; blocking."""

    def detect(self, text: str) -> LanguageTag | None:
        """Return the language; None if the text is too short or the result is uncertain."""
