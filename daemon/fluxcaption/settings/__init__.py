"""Every setting with its unit, range and default: frozen models, validated without I/O.

The configuration file, its JSON Schema and the commented example are generated from these models.
Only settings with an effect are listed: an unknown key is an error.
"""

from fluxcaption.settings.backends import (
    LocalSpeech,
    LocalTranslation,
    OllamaTranslation,
    Speech,
    Translation,
    TranslationBackend,
)
from fluxcaption.settings.field_types import Section, format_duration
from fluxcaption.settings.languages import Languages, RuleEntry, Target
from fluxcaption.settings.sections import Backlog, Limits, Log, Schedule, Settings, Subtitles, Web
from fluxcaption.settings.server import FolderConfig, JellyfinConfig, PathMapping

__all__ = [
    "Backlog",
    "FolderConfig",
    "JellyfinConfig",
    "Languages",
    "Limits",
    "LocalSpeech",
    "LocalTranslation",
    "Log",
    "OllamaTranslation",
    "PathMapping",
    "RuleEntry",
    "Schedule",
    "Section",
    "Settings",
    "Speech",
    "Subtitles",
    "Target",
    "Translation",
    "TranslationBackend",
    "Web",
    "format_duration",
]
