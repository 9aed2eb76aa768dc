"""Settings of speech recognition and translation."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from fluxcaption.settings.field_types import HTTP_URL_PATTERN, Duration, Section, Share


class LocalSpeech(Section):
    """Faster-whisper on this machine."""

    type: Literal["local"] = "local"
    model: str = Field("auto", description="auto, or a CTranslate2 directory.")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    compute_type: Literal[
        "auto",
        "default",
        "int8",
        "int8_float32",
        "int8_float16",
        "int8_bfloat16",
        "int16",
        "float16",
        "bfloat16",
        "float32",
    ] = Field("auto", description="Number format of the model; auto: the fastest that suits the device.")


class Speech(Section):
    """Speech recognition."""

    backends: tuple[LocalSpeech, ...] = Field(
        (LocalSpeech(),), min_length=1, max_length=1, description="The recognizer."
    )
    min_score: float = Field(
        0.5, ge=0, le=1, description="A transcript with a lower confidence (0 to 1) is not published."
    )
    unload_after: Duration = Field(
        timedelta(minutes=5), description="Idle time after which a model is removed from memory."
    )


class LocalTranslation(Section):
    """A CTranslate2 translation model on this machine."""

    type: Literal["local"]
    model: str = Field(description="A CTranslate2 directory, or miniature for the demo model.")
    layout: Literal["auto", "m2m100", "nllb", "madlad"] = Field(
        "auto", description="Token layout of the model; auto: read from the model's files."
    )


class OllamaTranslation(Section):
    """A language model behind Ollama."""

    type: Literal["ollama"]
    url: str = Field(pattern=HTTP_URL_PATTERN)
    model: str
    concurrency: int = Field(1, ge=1, le=16)


TranslationBackend = Annotated[LocalTranslation | OllamaTranslation, Field(discriminator="type")]


class Translation(Section):
    """Translation."""

    backends: tuple[TranslationBackend, ...] = Field((), description="Tried in order.")
    patience: Duration = Field(
        timedelta(hours=12),
        description="How long a preferred backend may be unreachable before the next one is used.",
    )
    max_untranslated: Share = Field(
        0.02,
        description="Share of sentences that may keep their source text, such as 0.02 or 2%.",
        json_schema_extra={
            "anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^\d+(\.\d+)?\s*%$"}]
        },
    )
