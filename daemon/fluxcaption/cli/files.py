"""Commands on single files: neither a server nor a configuration is needed."""

import os
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import click

from fluxcaption.app import Engines, build_engines, build_single_file_captioner, thread_count
from fluxcaption.cli.common import FAILED, TRY_LATER, config_option, run_async, settings_for
from fluxcaption.cli.items import ask_for_item
from fluxcaption.cli.progress import ProgressDisplay
from fluxcaption.domain.errors import JobError, ParkedError, StateError, UsageError
from fluxcaption.domain.jobs import ManualRequest
from fluxcaption.domain.language import LanguageTag, Strictness
from fluxcaption.logs import one_line, set_up_logging
from fluxcaption.pipeline.captioning.single_file import SingleFileCaptioner
from fluxcaption.pipeline.captioning.transcriber import Progress
from fluxcaption.ports.storage import Storage
from fluxcaption.settings import (
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


@click.command("caption")
@click.argument("media", nargs=-1, type=click.Path(path_type=Path))
@click.option("--to", "targets", multiple=True, help="Wanted language; may be given more than once.")
@click.option("--item", help="An item of the library instead of files: its id, or a part of its name.")
@click.option(
    "--source",
    "track",
    help="With --item: audio 2, text 1 or the name of a subtitle file, as `why` shows them.",
)
@click.option("--redo", is_flag=True, help="With --item: also where there is a track already.")
@click.option("--from", "source", help="The spoken language, where the file says none or a wrong one.")
@click.option(
    "--output", type=click.Path(path_type=Path), help="Folder for the subtitles; else beside each file."
)
@model_option
@translator_option
@config_option
def caption(
    media: Sequence[Path],
    targets: Sequence[str],
    item: str | None,
    track: str | None,
    redo: bool,
    source: str | None,
    output: Path | None,
    model: str | None,
    translator: str | None,
    config: Path | None,
) -> int:
    """Make subtitles for media files, or for one item of the library."""
    if item is not None:
        if media or output or source or translator:
            raise UsageError(
                "with --item only --to, --source, --model and --redo can be given: the library's own settings are used"
            )
        request = ManualRequest(source=track or "", model=model or "", redo=redo)
        return ask_for_item(
            settings_for(config, log_level="warning"), item, [_tag(text) for text in targets], request
        )
    if track or redo:
        raise UsageError("--source and --redo need --item")
    if not media:
        raise UsageError("name at least one media file")
    if not targets:
        raise UsageError("name at least one language with --to")
    wanted = [_tag(text) for text in targets]
    speech, backends, settings = _models(config, model, translator)
    return run_async(
        _caption(media, wanted, _tag(source) if source else None, output, speech, backends, settings)
    )


@click.command("translate")
@click.argument("subtitle", type=click.Path(path_type=Path))
@click.option(
    "--to", "targets", multiple=True, required=True, help="Wanted language; may be given more than once."
)
@click.option("--from", "source", help="Language of the file; else read from its name.")
@click.option(
    "--output", type=click.Path(path_type=Path), help="Folder for the new files; else beside the file."
)
@translator_option
@config_option
def translate(
    subtitle: Path,
    targets: Sequence[str],
    source: str | None,
    output: Path | None,
    translator: str | None,
    config: Path | None,
) -> int:
    """Translate one subtitle file; the format stays the same where it can."""
    wanted = [_tag(text) for text in targets]
    speech, backends, settings = _models(config, None, translator)
    return run_async(
        _translate(subtitle, wanted, _tag(source) if source else None, output, speech, backends, settings)
    )


def _tag(text: str) -> LanguageTag:
    try:
        return LanguageTag.parse(text)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _models(
    config: Path | None, model: str | None, translator: str | None
) -> tuple[LocalSpeech, Sequence[TranslationBackend], Settings | None]:
    """From options, else from a configuration if one is given or named by the environment."""
    settings = (
        settings_for(config, log_level="warning")
        if config is not None or os.environ.get("FLUXCAPTION_CONFIG")
        else None
    )
    if settings is None:
        set_up_logging("warning", "text")
    speech = (
        LocalSpeech(model=model)
        if model
        else settings.asr.backends[0]
        if settings
        else LocalSpeech(model=str(_cache() / "models" / "speech"))
    )
    if translator:
        backends: Sequence[TranslationBackend] = [LocalTranslation(type="local", model=translator)]
    else:
        backends = (
            settings.translation.backends
            if settings
            else [LocalTranslation(type="local", model=str(_cache() / "models" / "translation"))]
        )
    return speech, backends, settings


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fluxcaption"


async def _caption(
    media: Sequence[Path],
    targets: Sequence[LanguageTag],
    spoken: LanguageTag | None,
    output: Path | None,
    speech: LocalSpeech,
    backends: Sequence[TranslationBackend],
    settings: Settings | None,
) -> int:
    async with AsyncExitStack() as stack:
        shot = await _open(stack, speech, backends, settings)
        return await _each(
            media,
            targets,
            lambda path, target, progress: shot.caption(path, target, spoken, output, progress),
        )


async def _translate(
    subtitle: Path,
    targets: Sequence[LanguageTag],
    source: LanguageTag | None,
    output: Path | None,
    speech: LocalSpeech,
    backends: Sequence[TranslationBackend],
    settings: Settings | None,
) -> int:
    async with AsyncExitStack() as stack:
        shot = await _open(stack, speech, backends, settings)
        return await _each(
            [subtitle],
            targets,
            lambda path, target, progress: shot.translate(path, target, source, output, progress),
        )


async def _each(
    paths: Sequence[Path],
    targets: Sequence[LanguageTag],
    make: Callable[[Path, LanguageTag, Progress], Awaitable[str]],
) -> int:
    """Make every target of every file; what fails is said and does not hold up the rest."""
    worst = 0
    with ProgressDisplay() as display:
        for path in paths:
            for target in targets:
                name = f"{path.name} [{target}]"
                try:
                    made = await make(path, target, partial(display.update, name))
                except JobError as error:
                    click.echo(one_line(f"fluxcaption: {name}: {error}"), err=True)
                    worst = max(worst, TRY_LATER if isinstance(error, ParkedError) else FAILED)
                else:
                    display.line(f"{name}: {made}")
    return worst


async def _open(
    stack: AsyncExitStack,
    speech: LocalSpeech,
    backends: Sequence[TranslationBackend],
    settings: Settings | None,
) -> SingleFileCaptioner:
    limits = settings.limits if settings else None
    engines: Engines = build_engines(
        speech,
        backends,
        threads=thread_count(limits.threads if limits else "half"),
        jobs=1,
        nice=limits.nice if limits else 10,
    )
    stack.push_async_callback(engines.close)
    stack.push_async_callback(engines.unload)
    strictness = settings.languages.strictness if settings else Strictness.LANGUAGE
    marker = settings.subtitles.marker if settings else Subtitles().marker
    translation = settings.translation if settings else Translation()
    return build_single_file_captioner(
        engines, await _memory(stack), strictness, marker, translation.max_untranslated
    )


async def _memory(stack: AsyncExitStack) -> Storage:
    """The command's own memory, so that a long film goes on where it was broken off; a passing one where that cannot be had."""
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


COMMANDS = (caption, translate)
