"""Translation backends."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from fluxcaption.domain.cues import TextUnit
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.units import UnitId


class Translator(Protocol):
    """Translation of sentences by one backend."""

    @property
    def name(self) -> str:
        """Return the backend and the model, for keys of translations and for provenance."""

    @property
    def revision(self) -> str:
        """Return an identifier of the exact model, as far as the backend has one; may block.

        Raises:
            ModelMissing: The model is not on this machine.
        """

    @property
    def backend_id(self) -> str:
        """Return a hash of all settings of the backend, its address included."""

    def knows(self, source: LanguageTag, target: LanguageTag) -> bool:
        """Return True if the model may know the pair; `translate` may still reject it."""

    async def translate(
        self, units: Sequence[TextUnit], source: LanguageTag, target: LanguageTag
    ) -> Mapping[UnitId, str]:
        """Translate a batch and return the accepted translations by unit id.

        A missing id was not answered, or its translation was rejected.

        Raises:
            UnsupportedLanguagePair: The backend has no model for the pair.
            ServiceUnreachable: The backend gave no usable answer.
            ReplyUnusable: No translation in the answer was accepted.
            ModelMissing: The backend does not have the model.
            OutOfMemory: The batch needs more memory than there is.
        """

    @property
    def is_loaded(self) -> bool:
        """Return True if the model is in the memory of this process."""

    async def unload(self) -> None:
        """Free the memory of the model; the next batch loads it again."""

    async def close(self) -> None:
        """Release threads and connections."""
