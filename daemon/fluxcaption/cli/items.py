"""Commands about one item: why, caption --item, undo."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from fluxcaption.cli.app_context import open_app
from fluxcaption.cli.common import config_option, run_async, settings_for
from fluxcaption.cli.daemon_client import call_daemon, is_running
from fluxcaption.cli.why_text import explanation_text
from fluxcaption.domain.errors import UsageError
from fluxcaption.domain.jobs import OPEN_STATES, ManualRequest
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.units import ItemId
from fluxcaption.logs import one_line
from fluxcaption.pipeline.explain import Explanation, explain
from fluxcaption.settings import Settings
from fluxcaption.storage.database import DATABASE
from fluxcaption.storage.storage import SqliteStorage

_ID = re.compile(r"[0-9a-fA-F-]{32,36}")


@click.command("why")
@click.argument("item")
@config_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def why(item: str, config: Path | None, as_json: bool) -> int:
    """Tell the whole decision chain for ITEM: its id, or a part of its name."""
    settings = settings_for(config, log_level="warning")
    told = Explanation.model_validate(run_async(_why(settings, item)))
    click.echo(told.model_dump_json() if as_json else explanation_text(told))
    return 0


async def _why(settings: Settings, item: str) -> Any:
    if is_running(settings):
        return await call_daemon(settings, "GET", f"/api/items/{await _id_of(settings, item)}/why")
    async with open_app(settings, reading=True) as app:
        return (
            await explain(app.server, app.storage, app.planner, await _id_of(settings, item))
        ).model_dump()


def ask_for_item(
    settings: Settings, item: str, targets: Sequence[LanguageTag], request: ManualRequest
) -> int:
    """Queue one item as asked for, through the running daemon or for the next run."""
    answer = run_async(_ask(settings, item, targets, request))
    for decision in answer["decisions"]:
        click.echo(one_line(f"{decision['target']}: {decision['action']}: {decision['reason']}"))
    click.echo(
        f"queued: {', '.join(f'job {number}' for number in answer['jobs']) or 'nothing is to be made'}"
    )
    return 0


async def _ask(settings: Settings, item: str, targets: Sequence[LanguageTag], request: ManualRequest) -> Any:
    item_id = await _id_of(settings, item)
    if is_running(settings):
        body = {
            "item_id": item_id,
            "targets": [str(tag) for tag in targets],
            "source": request.source,
            "model": request.model,
            "redo": request.redo,
        }
        return await call_daemon(settings, "POST", "/api/jobs/caption", body)
    async with open_app(settings, reading=False) as app:
        decisions = await app.enqueuer.enqueue_requested(item_id, targets, request)
        jobs = await app.storage.jobs.page(item_id=item_id, states=OPEN_STATES)
        told = [
            {"target": str(decision.target), "action": decision.action.value, "reason": decision.reason}
            for decision in decisions
        ]
        return {"jobs": [job.id for job in jobs], "decisions": told}


@click.command("undo")
@click.option("--item", help="Id of one item, or a part of its name.")
@click.option("--all", "everything", is_flag=True, help="Every track FluxCaption made.")
@config_option
@click.option("--dry-run", is_flag=True, help="Say what would be removed.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def undo(item: str | None, everything: bool, config: Path | None, dry_run: bool, as_json: bool) -> int:
    """Remove exactly the tracks FluxCaption made; what somebody edited stays."""
    if (item is None) == (not everything):
        raise UsageError("undo needs either --item ID or --all")
    settings = settings_for(config, log_level="warning")
    lines = run_async(_undo(settings, item, dry_run))
    click.echo(
        json.dumps({"tracks": lines})
        if as_json
        else "\n".join(map(one_line, lines)) or "There is nothing of ours."
    )
    return 0


async def _undo(settings: Settings, item: str | None, dry_run: bool) -> list[str]:
    item_id = await _id_of(settings, item) if item else None
    if is_running(settings):
        answer = await call_daemon(settings, "POST", "/api/undo", {"item_id": item_id, "dry_run": dry_run})
        return list(answer["tracks"])
    async with open_app(settings, reading=False) as app:
        return list(await app.deliverer.undo(app.playback.server_id, item_id, dry_run=dry_run))


async def _id_of(settings: Settings, text: str) -> ItemId:
    if _ID.fullmatch(text):
        return ItemId(text.replace("-", "").lower())
    if not (settings.state / DATABASE).is_file():
        raise UsageError(
            f"no item is known by {text!r} before the first scan: run `fluxcaption scan`, or give the item's id"
        )
    storage = await SqliteStorage.open(settings.state, read_only=True)
    try:
        found = await storage.items.find(text)
    finally:
        await storage.close()
    if len(found) == 1:
        return found[0][0]
    if not found:
        raise UsageError(
            f"no item is known by {text!r}: run `fluxcaption scan` if it is new, or give its id, as the address of its page in Jellyfin shows it"
        )
    listed = "; ".join(f"{name} ({item_id})" for item_id, name in found[:8])
    raise UsageError(f"{len(found)} items have {text!r} in their name: {listed}")


COMMANDS = (why, undo)
