"""`caption`: makes subtitles for media files, or queues one item of the library."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import click

from fluxcaption.cli.app_context import open_app
from fluxcaption.cli.common import EXIT_DONE, config_option, parse_language, run_async, settings_for
from fluxcaption.cli.daemon_client import call_daemon, is_running
from fluxcaption.cli.item_lookup import find_item_id
from fluxcaption.cli.single_files import (
    Backends,
    choose_backends,
    make_each,
    model_option,
    open_captioner,
    translator_option,
)
from fluxcaption.domain.errors import UsageError
from fluxcaption.domain.jobs import OPEN_STATES, ManualRequest
from fluxcaption.domain.language import LanguageTag
from fluxcaption.logs import one_line
from fluxcaption.pipeline.captioning.transcriber import Progress
from fluxcaption.settings import Settings
from fluxcaption.web.views import CaptionAnswer, CaptionBody


@click.command("caption")
@click.argument("media", nargs=-1, type=click.Path(path_type=Path))
@click.option("--to", "targets", multiple=True, help="Target language; may be given more than once.")
@click.option("--item", help="An item of the library instead of files: its id, or a part of its name.")
@click.option(
    "--source",
    "track",
    help="With --item: audio 2, text 1 or the name of a subtitle file, as `why` shows them.",
)
@click.option("--redo", is_flag=True, help="With --item: make tracks that exist already again.")
@click.option("--from", "source", help="Spoken language, if the file names none or a wrong one.")
@click.option(
    "--output", type=click.Path(path_type=Path), help="Folder for the subtitles; by default beside each file."
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
                "--item uses the settings of the library: "
                "combine it only with --to, --source, --model and --redo"
            )
        request = ManualRequest(source=track or "", model=model or "", redo=redo)
        return _caption_item(config, item, [parse_language(text) for text in targets], request)
    if track or redo:
        raise UsageError("--source and --redo need --item")
    if not media:
        raise UsageError("no media file is given: name at least one")
    if not targets:
        raise UsageError("no target language is given: name at least one with --to")
    languages = [parse_language(text) for text in targets]
    spoken = parse_language(source) if source else None
    backends = choose_backends(config, model, translator)
    return run_async(_caption_files(media, languages, spoken, output, backends))


async def _caption_files(
    media: Sequence[Path],
    targets: Sequence[LanguageTag],
    spoken: LanguageTag | None,
    output: Path | None,
    backends: Backends,
) -> int:
    async with AsyncExitStack() as stack:
        captioner = await open_captioner(stack, backends)

        async def make(path: Path, target: LanguageTag, progress: Progress) -> str:
            return await captioner.caption(path, target, spoken, output, progress)

        return await make_each(media, targets, make)


def _caption_item(
    config: Path | None, item: str, targets: Sequence[LanguageTag], request: ManualRequest
) -> int:
    settings = settings_for(config, log_level="warning")
    answer = run_async(_request_item(settings, item, targets, request))
    for decision in answer.decisions:
        click.echo(one_line(f"{decision.target}: {decision.action}: {decision.reason}"))
    click.echo(f"queued: {', '.join(f'job {job_id}' for job_id in answer.jobs) or 'nothing to make'}")
    return EXIT_DONE


async def _request_item(
    settings: Settings, item: str, targets: Sequence[LanguageTag], request: ManualRequest
) -> CaptionAnswer:
    """Queue one item through the running daemon, else for the next run."""
    item_id = await find_item_id(settings, item)
    if is_running(settings):
        body = CaptionBody(
            item_id=item_id,
            targets=[str(target) for target in targets],
            source=request.source,
            model=request.model,
            redo=request.redo,
        )
        answer = await call_daemon(settings, "POST", "/api/jobs/caption", body.model_dump())
        return CaptionAnswer.model_validate(answer)
    async with open_app(settings, read_only=False) as app:
        decisions = await app.enqueuer.enqueue_requested(item_id, targets, request)
        jobs = await app.storage.jobs.page(item_id=item_id, states=OPEN_STATES)
        return CaptionAnswer.of(jobs, decisions)
