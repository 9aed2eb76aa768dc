"""`undo`: removes the tracks that FluxCaption made."""

import json
from collections.abc import Sequence
from pathlib import Path

import click

from fluxcaption.cli.app_context import open_app
from fluxcaption.cli.common import EXIT_DONE, config_option, json_option, run_async, settings_for
from fluxcaption.cli.daemon_client import call_daemon, is_running
from fluxcaption.cli.item_lookup import find_item_id
from fluxcaption.domain.errors import UsageError
from fluxcaption.logs import one_line
from fluxcaption.settings import Settings
from fluxcaption.web.views import UndoAnswer, UndoBody


@click.command("undo")
@click.option("--item", help="Id of one item, or a part of its name.")
@click.option("--all", "all_items", is_flag=True, help="Every track that FluxCaption made.")
@config_option
@click.option("--dry-run", is_flag=True, help="Show what would be removed, and remove nothing.")
@json_option
def undo(item: str | None, all_items: bool, config: Path | None, dry_run: bool, as_json: bool) -> int:
    """Remove exactly the tracks that FluxCaption made; tracks that a user edited stay."""
    if (item is None) == (not all_items):
        raise UsageError("undo needs one of --item ID and --all: give exactly one")
    settings = settings_for(config, log_level="warning")
    tracks = run_async(_undo(settings, item, dry_run))
    if as_json:
        click.echo(json.dumps({"tracks": tracks}))
    else:
        click.echo("\n".join(map(one_line, tracks)) or "FluxCaption made no track here: nothing to remove.")
    return EXIT_DONE


async def _undo(settings: Settings, item: str | None, dry_run: bool) -> Sequence[str]:
    item_id = None if item is None else await find_item_id(settings, item)
    if is_running(settings):
        body = UndoBody(item_id=item_id, dry_run=dry_run)
        answer = await call_daemon(settings, "POST", "/api/undo", body.model_dump())
        return UndoAnswer.model_validate(answer).tracks
    async with open_app(settings, read_only=False) as app:
        return list(
            await app.delivery.undo.remove_own_tracks(app.playback.server_id, item_id, dry_run=dry_run)
        )
