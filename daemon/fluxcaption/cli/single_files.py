"""Shared by `caption MEDIA` and `translate`: models and state without a server or a configuration."""

import os
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click

from fluxcaption.cli.common import EXIT_DONE, EXIT_FAILED, EXIT_TRY_LATER, settings_for
from fluxcaption.cli.progress import ProgressDisplay
from fluxcaption.domain.errors import JobError, ParkedError, StateError
from fluxcaption.domain.language import LanguageTag, Strictness
from fluxcaption.engines import build_engines, build_single_file_captioner, thread_count
from fluxcaption.logs import one_line, set_up_logging
from fluxcaption.pipeline.captioning.single_file import SingleFileCaptioner
from fluxcaption.pipeline.captioning.transcriber import Progress
from fluxcaption.ports.storage import Storage
from fluxcaption.settings import (
    Limits,
    LocalSpeech,
    LocalTranslation,
    Settings,
    Subtitles,
    Translation,
    TranslationBackend,
)
from fluxcaption.storage.lock import StateLock
from fluxcaption.storage.storage import SqliteStorage

model_option = click.option("--model", help="Speech model: a CTranslate2 Whisper directory, or miniature.")
translator_option = click.option(
    "--translator", help="Translation model: a CTranslate2 directory, or miniature."
)


@dataclass(frozen=True, slots=True)
class Backends:
    """Backends of a command on single files.

    Attributes:
        settings: The configuration; None without one, and then the defaults apply.
    """

    speech: LocalSpeech
    translation: Sequence[TranslationBackend]
    settings: Settings | None


def choose_backends(config: Path | None, model: str | None, translator: str | None) -> Backends:
    """Choose the models: those of the options, else of a configuration that is named, else of the cache."""
    settings = None
    if config is not None or os.environ.get("FLUXCAPTION_CONFIG"):
        settings = settings_for(config, log_level="warning")
    else:
        set_up_logging("warning", "text")
    return Backends(_speech(settings, model), _translation(settings, translator), settings)


def _speech(settings: Settings | None, model: str | None) -> LocalSpeech:
    if model:
        return LocalSpeech(model=model)
    if settings is not None:
        return settings.asr.backends[0]
    return LocalSpeech(model=str(_cache() / "models" / "speech"))


def _translation(settings: Settings | None, translator: str | None) -> Sequence[TranslationBackend]:
    if translator:
        return [LocalTranslation(type="local", model=translator)]
    if settings is not None:
        return settings.translation.backends
    return [LocalTranslation(type="local", model=str(_cache() / "models" / "translation"))]


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fluxcaption"


async def open_captioner(stack: AsyncExitStack, backends: Backends) -> SingleFileCaptioner:
    """Build the captioner; the stack closes its engines and its storage."""
    settings = backends.settings
    limits = settings.limits if settings else Limits()
    engines = build_engines(
        backends.speech,
        backends.translation,
        threads=thread_count(limits.threads),
        jobs=1,
        nice=limits.nice,
    )
    stack.push_async_callback(engines.close)
    stack.push_async_callback(engines.unload)
    return build_single_file_captioner(
        engines,
        await _open_cache_storage(stack),
        settings.languages.strictness if settings else Strictness.LANGUAGE,
        (settings.subtitles if settings else Subtitles()).marker,
        (settings.translation if settings else Translation()).max_untranslated,
    )


async def _open_cache_storage(stack: AsyncExitStack) -> Storage:
    """Open the storage of these commands, so that an interrupted film continues at the next call.

    A temporary storage is used while another command has it, or if the cache cannot be written.
    """
    folder = _cache() / "caption"
    lock = StateLock(folder)
    try:
        lock.take()
        stack.callback(lock.release)
        storage = await SqliteStorage.open(folder)
    except StateError:
        storage = await SqliteStorage.open(Path(stack.enter_context(tempfile.TemporaryDirectory())))
    stack.push_async_callback(storage.close)
    return storage


async def make_each(
    paths: Sequence[Path],
    targets: Sequence[LanguageTag],
    make: Callable[[Path, LanguageTag, Progress], Awaitable[str]],
) -> int:
    """Make every target of every file, print failures, and return the exit code."""
    code = EXIT_DONE
    with ProgressDisplay() as display:
        for path in paths:
            for target in targets:
                name = f"{path.name} [{target}]"
                try:
                    result = await make(path, target, partial(display.update, name))
                except JobError as error:
                    click.echo(one_line(f"fluxcaption: {name}: {error}"), err=True)
                    code = max(code, EXIT_TRY_LATER if isinstance(error, ParkedError) else EXIT_FAILED)
                else:
                    display.line(f"{name}: {result}")
    return code
