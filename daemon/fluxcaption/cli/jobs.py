"""Commands about the queue: through the running daemon, else on its state."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from fluxcaption.cli.common import config_option, run_async, settings_for
from fluxcaption.cli.daemon_client import call_daemon, is_running
from fluxcaption.clock import SystemClock
from fluxcaption.daemon import PAUSED_KEY
from fluxcaption.domain.errors import UsageError
from fluxcaption.domain.jobs import Job
from fluxcaption.domain.units import JobId
from fluxcaption.logs import one_line
from fluxcaption.settings import Settings
from fluxcaption.storage.lock import StateLock
from fluxcaption.storage.storage import SqliteStorage
from fluxcaption.web.api import JobView

View = Mapping[str, Any]


@click.command("jobs")
@click.argument(
    "action", default="list", type=click.Choice(["list", "show", "retry", "cancel", "pause", "resume"])
)
@click.argument("job_id", required=False, type=int)
@config_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def jobs(action: str, job_id: int | None, config: Path | None, as_json: bool) -> int:
    """See and steer the queue."""
    settings = settings_for(config, log_level="warning")
    if action in {"show", "retry", "cancel"} and job_id is None:
        raise UsageError(f"jobs {action} needs the number of a job: see `fluxcaption jobs`")
    answer = run_async(_act(settings, action, job_id))
    if as_json:
        click.echo(json.dumps(answer, default=str))
    elif action == "list":
        click.echo("\n".join(_line(view) for view in answer) or "The queue is empty.")
    elif action in {"pause", "resume"}:
        click.echo(
            "Nothing more is begun until `fluxcaption jobs resume`." if action == "pause" else "Work goes on."
        )
    else:
        click.echo("\n".join(one_line(f"{name}: {value}") for name, value in answer.items()))
    return 0


async def _act(settings: Settings, action: str, job_id: int | None) -> Any:
    if action in {"list", "show"}:
        return await _read(settings, job_id)
    if is_running(settings):
        path = f"/api/queue/{action}" if action in {"pause", "resume"} else f"/api/jobs/{job_id}/{action}"
        return await call_daemon(settings, "POST", path)
    lock = StateLock(settings.state)
    lock.take()
    try:
        storage = await SqliteStorage.open(settings.state)
        try:
            if action in {"pause", "resume"}:
                await storage.state_values.set(PAUSED_KEY, "yes" if action == "pause" else "no")
                return {"paused": action == "pause"}
            change = storage.jobs.retry if action == "retry" else storage.jobs.cancel
            return _found(await change(JobId(job_id or 0), SystemClock().now()), job_id)
        finally:
            await storage.close()
    finally:
        lock.release()


async def _read(settings: Settings, job_id: int | None) -> Any:
    storage = await SqliteStorage.open(settings.state, read_only=True)
    try:
        if job_id is not None:
            return _found(await storage.jobs.get(JobId(job_id)), job_id)
        found: Sequence[Job] = await storage.jobs.page(limit=500)
        return [JobView.of(job).model_dump(mode="json") for job in found]
    finally:
        await storage.close()


def _found(job: Job | None, job_id: int | None) -> View:
    if job is None:
        raise UsageError(f"there is no job {job_id}: see `fluxcaption jobs`")
    return JobView.of(job).model_dump(mode="json")


def _line(view: View) -> str:
    return one_line(
        f"{view['id']:>5}  {view['state']:<9} {view['stage']:<9} {view['target']:<7} {view['title'][:50]:<50}  {view['reason']}"
    )


COMMANDS = (jobs,)
