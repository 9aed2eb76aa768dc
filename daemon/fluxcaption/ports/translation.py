"""Translation backends."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from fluxcaption.domain.cues import TextUnit
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.units import UnitId


class Translator(Protocol):
    """Puts sentences into another language."""

    @property
    def name(self) -> str:
        """Backend and model, for keys and provenance."""

    @property
    def revision(self) -> str:
        """Names the exact model where that can be known."""

    @property
    def backend_id(self) -> str:
        """Names this backend among all: every setting of it, and so where it is."""

    def knows(self, source: LanguageTag, target: LanguageTag) -> bool:
        """Whether this pair is worth asking; an answer may still be refused."""

    async def translate(
        self, units: Sequence[TextUnit], source: LanguageTag, target: LanguageTag
    ) -> Mapping[UnitId, str]:
        """Translate units, each on its own terms; an id that is missing was not answered.

        Raises:
            UnsupportedLanguagePair: There is no model for the pair.
            ServiceUnreachable: The backend gave no answer.
            ReplyUnusable: Nothing in the answer could be used.
            ModelMissing: The model is not there.
        """

    @property
    def is_loaded(self) -> bool:
        """Whether the model is in our memory."""

    async def unload(self) -> None:
        """Give the memory of the model back."""

    async def close(self) -> None:
        """Let go of connections."""
