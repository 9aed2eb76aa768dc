"""Commands that run the daemon or one pass of it."""

from pathlib import Path

import click

from fluxcaption.cli.app_context import open_app
from fluxcaption.cli.common import config_option, run_async, settings_for
from fluxcaption.cli.daemon_client import call_daemon, is_running
from fluxcaption.cli.progress import ProgressDisplay
from fluxcaption.daemon import Daemon, OnceReport, run_once
from fluxcaption.domain.jobs import JobState
from fluxcaption.pipeline.discovery.scan_run import ScanReport
from fluxcaption.settings import Settings
from fluxcaption.systemd import notify
from fluxcaption.web.api import ScanAnswer


@click.command("run")
@config_option
@click.option(
    "--once", is_flag=True, help="One full scan, work until nothing is due, then end; opens no port."
)
def run(config: Path | None, once: bool) -> int:
    """Run the daemon."""
    if once:
        settings = settings_for(config, log_level="warning")
        return _once(settings)
    settings = settings_for(config)
    run_async(_run(settings))
    return 0


async def _run(settings: Settings) -> None:
    await Daemon(settings).run(on_ready=lambda: notify("READY=1"), on_stopping=lambda: notify("STOPPING=1"))


def _once(settings: Settings) -> int:
    with ProgressDisplay() as display:
        report = run_async(
            run_once(
                settings,
                display.line,
                lambda job, done, whole: display.update(f"{job.title} [{job.target}]", done, whole),
            )
        )
    click.echo(_summary(report))
    return report.exit_code


def _summary(report: OnceReport) -> str:
    made = sum(job.state is JobState.DONE for job in report.finished)
    failed = sum(job.state is JobState.FAILED for job in report.finished)
    if not report.finished and not report.waiting:
        return f"{report.scan.items} titles looked at: nothing to do."
    parts = [f"{report.scan.items} titles looked at", f"{made} subtitle(s) made"]
    if failed:
        parts.append(f"{failed} failed")
    if report.waiting:
        parts.append(f"{report.waiting} wait and are tried again next time (`fluxcaption jobs` says why)")
    return ", ".join(parts) + "."


@click.command("scan")
@config_option
@click.option("--dry-run", is_flag=True, help="Change nothing anywhere.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def scan(config: Path | None, dry_run: bool, as_json: bool) -> int:
    """Look at the whole library: what is missing, by language and by way, and what it would cost."""
    settings = settings_for(config, log_level="warning")
    if not dry_run and is_running(settings):
        answer = ScanAnswer.model_validate(run_async(call_daemon(settings, "POST", "/api/scan")))
    else:
        answer = ScanAnswer.of(run_async(scan_alone(settings, dry_run)))
    click.echo(answer.model_dump_json() if as_json else report_as_text(answer, dry_run))
    return 0


async def scan_alone(settings: Settings, dry_run: bool) -> ScanReport:
    """A pass without a daemon."""
    async with open_app(settings, reading=dry_run) as app:
        return await app.scanner.look() if dry_run else await app.scanner.scan(full=True, lean=False)


def report_as_text(answer: ScanAnswer, dry_run: bool) -> str:
    """What a pass found, for people."""
    lines = [f"{answer.items} titles looked at."]
    for target, actions in answer.gaps.items():
        lines.append(f"  {target}: " + ", ".join(f"{count} {action}" for action, count in actions.items()))
    lines += [f"  {line}" for line in [*answer.broken, *answer.told]]
    if not dry_run:
        lines.append(f"  {answer.queued} new job(s) queued.")
    return "\n".join(lines)


COMMANDS = (run, scan)
