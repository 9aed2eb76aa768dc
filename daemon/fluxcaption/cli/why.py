"""`why`: explains the decisions about one item."""

from pathlib import Path

import click

from fluxcaption.cli.app_context import open_app
from fluxcaption.cli.common import EXIT_DONE, config_option, json_option, run_async, settings_for
from fluxcaption.cli.daemon_client import call_daemon, is_running
from fluxcaption.cli.item_lookup import find_item_id
from fluxcaption.cli.why_text import explanation_text
from fluxcaption.pipeline.explain import Explanation, explain
from fluxcaption.settings import Settings


@click.command("why")
@click.argument("item")
@config_option
@json_option
def why(item: str, config: Path | None, as_json: bool) -> int:
    """Show the decision chain for ITEM: its id, or a part of its name."""
    settings = settings_for(config, log_level="warning")
    explanation = run_async(_explain(settings, item))
    click.echo(explanation.model_dump_json() if as_json else explanation_text(explanation))
    return EXIT_DONE


async def _explain(settings: Settings, item: str) -> Explanation:
    if is_running(settings):
        item_id = await find_item_id(settings, item)
        return Explanation.model_validate(await call_daemon(settings, "GET", f"/api/items/{item_id}/why"))
    async with open_app(settings, read_only=True) as app:
        return await explain(app.server, app.storage, app.planner, await find_item_id(settings, item))
