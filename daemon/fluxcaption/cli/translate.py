"""`translate`: translates one subtitle file."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import click

from fluxcaption.cli.common import config_option, parse_language, run_async
from fluxcaption.cli.single_files import (
    Backends,
    choose_backends,
    make_each,
    open_captioner,
    translator_option,
)
from fluxcaption.domain.language import LanguageTag
from fluxcaption.pipeline.captioning.transcriber import Progress


@click.command("translate")
@click.argument("subtitle", type=click.Path(path_type=Path))
@click.option(
    "--to", "targets", multiple=True, required=True, help="Target language; may be given more than once."
)
@click.option("--from", "source", help="Language of the file; by default read from its name.")
@click.option(
    "--output", type=click.Path(path_type=Path), help="Folder for the new files; by default beside the file."
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
    """Translate one subtitle file; the format stays the same if it can be written."""
    languages = [parse_language(text) for text in targets]
    source_language = parse_language(source) if source else None
    backends = choose_backends(config, None, translator)
    return run_async(_translate_file(subtitle, languages, source_language, output, backends))


async def _translate_file(
    subtitle: Path,
    targets: Sequence[LanguageTag],
    source: LanguageTag | None,
    output: Path | None,
    backends: Backends,
) -> int:
    async with AsyncExitStack() as stack:
        captioner = await open_captioner(stack, backends)

        async def make(path: Path, target: LanguageTag, progress: Progress) -> str:
            return await captioner.translate(path, target, source, output, progress)

        return await make_each([subtitle], targets, make)
