"""A running daemon inside a test, and calls of its HTTP interface."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from fluxcaption.app import App
from fluxcaption.daemon import Daemon
from fluxcaption.domain.jobs import Job, JobState
from fluxcaption.ports.clock import Clock
from fluxcaption.settings import Settings

from tests.fakes.jellyfin.library import SERVER_ID
from tests.support.waiting import wait_until

SECRET = {"Authorization": "Bearer a-secret"}
"""The header that a webhook of the server carries."""

NO_TRANSCRIPTION = {"pause": ["00:00-12:00", "12:00-23:59"]}
"""A schedule whose quiet hours cover the whole day."""


@asynccontextmanager
async def running_daemon(settings: Settings, clock: Clock | None = None) -> AsyncIterator[Daemon]:
    """Run a daemon for the length of the block. An error of its start is raised here."""
    daemon = Daemon(settings, clock=clock)
    ready = asyncio.Event()
    task = asyncio.create_task(daemon.run(on_ready=ready.set))
    waiter = asyncio.create_task(ready.wait())
    await asyncio.wait({task, waiter}, return_when=asyncio.FIRST_COMPLETED)
    waiter.cancel()
    if task.done():
        task.result()
    try:
        yield daemon
    finally:
        daemon.stop()
        async with asyncio.timeout(20):
            await task


def app_of(daemon: Daemon) -> App:
    """Return the object graph of a running daemon."""
    assert daemon.app is not None
    return daemon.app


def url_of(daemon: Daemon, path: str) -> str:
    """Return the address of a path on the HTTP port of a running daemon."""
    assert daemon.web is not None
    return f"http://127.0.0.1:{daemon.web.port}{path}"


async def wait_for_first_scan(daemon: Daemon) -> None:
    """Wait until the scan at the start of the daemon is complete."""
    await wait_until(lambda: app_of(daemon).storage.state_values.get("scan-basis"))


async def wait_for_connection(daemon: Daemon) -> None:
    """Wait until the daemon has tried to connect to its server."""
    await wait_until(lambda: "server" in daemon.health.readiness().parts)


async def wait_for_done_job(daemon: Daemon) -> Job:
    """Wait until the first job is done and return that job."""

    async def is_done() -> bool:
        jobs = await jobs_of(daemon)
        return bool(jobs) and jobs[0].state is JobState.DONE

    await wait_until(is_done, timeout_s=40)
    return (await jobs_of(daemon))[0]


async def jobs_of(daemon: Daemon) -> list[Job]:
    """Return the first page of jobs."""
    return list(await app_of(daemon).storage.jobs.page())


async def call(daemon: Daemon, method: str, path: str, **arguments: Any) -> tuple[int, Any]:
    """Send a request to the daemon and return the status and the decoded body."""
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url_of(daemon, path), **arguments) as answer,
    ):
        return answer.status, await answer.json(content_type=None)


async def readiness(daemon: Daemon) -> tuple[int, Any]:
    """Return the answer of `/health/ready`."""
    return await call(daemon, "GET", "/health/ready")


def event(item_id: str, kind: str = "ItemAdded", server_id: str = SERVER_ID) -> dict[str, str]:
    """Return the body of a webhook event."""
    return {"NotificationType": kind, "ItemId": item_id, "ServerId": server_id}
