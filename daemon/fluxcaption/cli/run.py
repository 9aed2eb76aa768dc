"""`run`: the daemon, or with `--once` one scan and its work."""

from functools import partial
from pathlib import Path

import click

from fluxcaption.cli.common import EXIT_DONE, config_option, run_async, settings_for
from fluxcaption.cli.progress import ProgressDisplay
from fluxcaption.daemon import Daemon, OnceReport, run_once
from fluxcaption.domain.jobs import Job, JobState
from fluxcaption.domain.units import Ms
from fluxcaption.settings import Settings
from fluxcaption.systemd import notify


@click.command("run")
@config_option
@click.option(
    "--once", is_flag=True, help="Run one full scan, work until no job is due, and end; opens no port."
)
def run(config: Path | None, once: bool) -> int:
    """Run the daemon."""
    if once:
        return _run_once(settings_for(config, log_level="warning"))
    run_async(_run_daemon(settings_for(config)))
    return EXIT_DONE


async def _run_daemon(settings: Settings) -> None:
    await Daemon(settings).run(on_ready=partial(notify, "READY=1"), on_stopping=partial(notify, "STOPPING=1"))


def _run_once(settings: Settings) -> int:
    with ProgressDisplay() as display:

        def show_progress(job: Job, done: Ms, whole: Ms) -> None:
            display.update(f"{job.title} [{job.target}]", done, whole)

        report = run_async(run_once(settings, display.line, show_progress))
    click.echo(_summary(report))
    return report.exit_code


def _summary(report: OnceReport) -> str:
    done = sum(job.state is JobState.DONE for job in report.finished)
    failed = sum(job.state is JobState.FAILED for job in report.finished)
    if not report.finished and not report.waiting:
        return f"{report.scan.items} titles scanned: nothing to do."
    parts = [f"{report.scan.items} titles scanned", f"{done} subtitle(s) made"]
    if failed:
        parts.append(f"{failed} failed")
    if report.waiting:
        parts.append(f"{report.waiting} wait for the next run (`fluxcaption jobs` shows why)")
    return ", ".join(parts) + "."
