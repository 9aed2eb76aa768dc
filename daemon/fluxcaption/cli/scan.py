"""`scan`: finds the missing languages of the whole library and estimates the cost."""

from pathlib import Path

import click

from fluxcaption.cli.app_context import open_app
from fluxcaption.cli.common import EXIT_DONE, config_option, json_option, run_async, settings_for
from fluxcaption.cli.daemon_client import call_daemon, is_running
from fluxcaption.pipeline.discovery.scanner import ScanReport
from fluxcaption.settings import Settings
from fluxcaption.web.views import ScanAnswer


@click.command("scan")
@config_option
@click.option("--dry-run", is_flag=True, help="Change nothing anywhere.")
@json_option
def scan(config: Path | None, dry_run: bool, as_json: bool) -> int:
    """Scan the whole library: missing languages by target and action, and the estimated cost."""
    settings = settings_for(config, log_level="warning")
    if not dry_run and is_running(settings):
        answer = ScanAnswer.model_validate(run_async(call_daemon(settings, "POST", "/api/scan")))
    else:
        answer = ScanAnswer.of(run_async(scan_without_daemon(settings, dry_run)))
    click.echo(answer.model_dump_json() if as_json else report_as_text(answer, dry_run))
    return EXIT_DONE


async def scan_without_daemon(settings: Settings, dry_run: bool) -> ScanReport:
    """Scan the whole library; with `dry_run` nothing is queued or stored."""
    async with open_app(settings, read_only=dry_run) as app:
        return await app.scanner.look() if dry_run else await app.scanner.scan(full=True, lean=False)


def report_as_text(answer: ScanAnswer, dry_run: bool) -> str:
    """Return the result of a scan as lines of text."""
    lines = [f"{answer.items} titles scanned."]
    for target, actions in answer.gaps.items():
        lines.append(f"  {target}: " + ", ".join(f"{count} {action}" for action, count in actions.items()))
    lines += [f"  {line}" for line in [*answer.broken, *answer.summary]]
    if not dry_run:
        lines.append(f"  {answer.queued} new job(s) queued.")
    return "\n".join(lines)
