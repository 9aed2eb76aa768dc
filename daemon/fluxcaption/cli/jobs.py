"""`jobs`: shows and changes the queue, through the running daemon or directly in the state."""

import json
from pathlib import Path
from typing import Any

import click

from fluxcaption.cli.app_context import open_storage
from fluxcaption.cli.common import EXIT_DONE, config_option, json_option, run_async, settings_for
from fluxcaption.cli.daemon_client import call_daemon, is_running
from fluxcaption.clock import SystemClock
from fluxcaption.domain.errors import UsageError
from fluxcaption.domain.jobs import Job
from fluxcaption.domain.units import JobId
from fluxcaption.logs import one_line
from fluxcaption.pipeline.queue.pause import QueuePause
from fluxcaption.settings import Settings
from fluxcaption.web.views import JobView

MAX_LISTED_JOBS = 500
READ_ACTIONS = ("list", "show")
JOB_ACTIONS = ("retry", "cancel")
QUEUE_ACTIONS = ("pause", "resume")


@click.command("jobs")
@click.argument("action", default="list", type=click.Choice([*READ_ACTIONS, *JOB_ACTIONS, *QUEUE_ACTIONS]))
@click.argument("job_id", required=False, type=int)
@config_option
@json_option
def jobs(action: str, job_id: int | None, config: Path | None, as_json: bool) -> int:
    """Show the queue, or one job; retry or cancel a job; pause or resume the queue."""
    settings = settings_for(config, log_level="warning")
    if action in {"show", *JOB_ACTIONS} and job_id is None:
        raise UsageError(f"jobs {action} needs the number of a job: see `fluxcaption jobs`")
    result = run_async(_run_action(settings, action, JobId(job_id or 0)))
    click.echo(json.dumps(result, default=str) if as_json else _as_text(action, result))
    return EXIT_DONE


async def _run_action(settings: Settings, action: str, job_id: JobId) -> Any:
    if action in READ_ACTIONS:
        return await _read(settings, action, job_id)
    if is_running(settings):
        path = f"/api/queue/{action}" if action in QUEUE_ACTIONS else f"/api/jobs/{job_id}/{action}"
        return await call_daemon(settings, "POST", path)
    return await _change(settings, action, job_id)


async def _read(settings: Settings, action: str, job_id: JobId) -> Any:
    async with open_storage(settings.state, read_only=True) as storage:
        if action == "show":
            return _view(await storage.jobs.get(job_id), job_id)
        return [
            JobView.of(job).model_dump(mode="json") for job in await storage.jobs.page(limit=MAX_LISTED_JOBS)
        ]


async def _change(settings: Settings, action: str, job_id: JobId) -> Any:
    async with open_storage(settings.state, read_only=False) as storage:
        if action in QUEUE_ACTIONS:
            is_paused = action == "pause"
            await QueuePause(storage.state_values).set(is_paused)
            return {"paused": is_paused}
        change = storage.jobs.retry if action == "retry" else storage.jobs.cancel
        return _view(await change(job_id, SystemClock().now()), job_id)


def _view(job: Job | None, job_id: JobId) -> dict[str, Any]:
    if job is None:
        raise UsageError(f"there is no job {job_id}: see `fluxcaption jobs`")
    return JobView.of(job).model_dump(mode="json")


def _as_text(action: str, result: Any) -> str:
    if action == "list":
        return "\n".join(map(_job_row, result)) or "The queue is empty."
    if action == "pause":
        return "The queue is paused. Continue with `fluxcaption jobs resume`."
    if action == "resume":
        return "The queue is resumed."
    return "\n".join(one_line(f"{name}: {value}") for name, value in result.items())


def _job_row(view: dict[str, Any]) -> str:
    return one_line(
        f"{view['id']:>5}  {view['state']:<9} {view['stage']:<9} {view['target']:<7} "
        f"{view['title'][:50]:<50}  {view['reason']}"
    )
