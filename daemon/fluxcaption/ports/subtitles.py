"""Subtitle files: reading, writing and language detection."""

from collections.abc import Sequence
from typing import Protocol

from fluxcaption.domain.cues import Cue, SubtitleText
from fluxcaption.domain.language import LanguageTag


class SubtitleCodec(Protocol):
    """Reads and writes subtitle files."""

    def read(self, name: str, content: bytes, language: LanguageTag | None = None) -> SubtitleText:
        """Read a file of any supported format; its language, where it is told, tells its encoding.

        Raises:
            SubtitleUnreadable: It is no text subtitle, or over 4 MiB or 20,000 cues.
        """

    def write_srt(self, cues: Sequence[Cue]) -> bytes:
        """Write SubRip: UTF-8, line feeds."""

    def rewrite(
        self, name: str, content: bytes, texts: Sequence[str], language: LanguageTag | None = None
    ) -> bytes:
        """Replace the text of each dialogue cue in the original file, in the order `read` gave, and keep everything else.

        Formats that cannot be written (ttml, sami, MicroDVD) come out as SubRip.
        """


class TextLanguage(Protocol):
    """Tells what language a text is in; blocking."""

    def detect(self, text: str) -> LanguageTag | None:
        """The language; None where it cannot be told."""
