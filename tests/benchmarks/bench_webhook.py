"""Response time of the webhook, compared with the minimum: aiohttp and one fsync.

Usage: `python -m tests.benchmarks.bench_webhook`. It alternates five runs of each, with one client and with 32,
and prints medians and ratios.
"""

import asyncio
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from fluxcaption.daemon import Daemon

from tests.fakes.jellyfin import KEY
from tests.support.app import settings

RUNS = 5
EVENTS = {1: 400, 32: 4000}
"""Number of events of one run, by number of clients."""


async def serve(handler: Callable[[web.Request], Any], port_sender: Connection) -> None:
    app = web.Application(client_max_size=64 * 1024)
    app.router.add_post("/webhook/jellyfin", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port_sender.send(runner.addresses[0][1])
    await asyncio.Event().wait()


def run_minimum(folder: str, port_sender: Connection) -> None:
    """Serve the minimum: write the body to a file, one fsync, and answer."""
    file = os.open(Path(folder, "events"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def receive(request: web.Request) -> web.Response:
        body = await request.read()
        os.write(file, body)
        os.fsync(file)
        return web.json_response({"id": 1}, status=202)

    asyncio.run(serve(receive, port_sender))


def run_daemon(folder: str, port_sender: Connection) -> None:
    """Serve with the whole daemon, which also processes the events during the measurement."""
    url = Path(folder, "server").read_text(encoding="utf-8")

    async def run() -> None:
        daemon = Daemon(
            settings(
                Path(folder),
                {"type": "jellyfin", "url": url, "api_key": KEY},
                ["de"],
                backlog={"mode": "none"},
            )
        )
        ready = asyncio.Event()
        running = asyncio.create_task(daemon.run(on_ready=ready.set))
        await ready.wait()
        assert daemon.web is not None
        port_sender.send(daemon.web.port)
        await running

    asyncio.run(run())


async def send_events(port: int, clients: int, serial: int) -> list[float]:
    """Send the events of one run. Return the sorted response times, in s."""
    times: list[float] = []
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=clients), headers={"Authorization": "Bearer a-secret"}
    ) as session:

        async def client(number: int) -> None:
            for event in range(EVENTS[clients] // clients):
                body = json.dumps(
                    {"NotificationType": "ItemAdded", "ItemId": f"{serial:08x}{number:08x}{event:016x}"}
                ).encode()
                began = time.perf_counter()
                async with session.post(f"http://127.0.0.1:{port}/webhook/jellyfin", data=body) as answer:
                    assert answer.status == 202
                    await answer.read()
                times.append(time.perf_counter() - began)

        await asyncio.gather(*(client(number) for number in range(clients)))
    return sorted(times)


def main() -> None:
    context = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder,
        subprocess.Popen(
            [sys.executable, "-m", "tests.fakes.jellyfin", "--items", "100"],
            stdout=subprocess.PIPE,
            text=True,
        ) as jellyfin,
    ):
        assert jellyfin.stdout is not None
        url = jellyfin.stdout.readline().strip()
        ports: dict[str, int] = {}
        servers = []
        for name, target in (("minimum", run_minimum), ("daemon", run_daemon)):
            Path(folder, name).mkdir()
            Path(folder, name, "server").write_text(url, encoding="utf-8")
            receiver, sender = context.Pipe()
            servers.append(
                context.Process(target=target, args=(str(Path(folder, name)), sender), daemon=True)
            )
            servers[-1].start()
            ports[name] = receiver.recv()
        serial = 0
        for clients in EVENTS:
            p50: dict[str, list[float]] = {"minimum": [], "daemon": []}
            p99: dict[str, list[float]] = {"minimum": [], "daemon": []}
            for _ in range(RUNS):
                for name, port in ports.items():
                    serial += 1
                    times = asyncio.run(send_events(port, clients, serial))
                    p50[name].append(times[len(times) // 2] * 1000)
                    p99[name].append(times[int(len(times) * 0.99)] * 1000)
            medians = {name: (statistics.median(p50[name]), statistics.median(p99[name])) for name in ports}
            daemon, minimum = medians["daemon"], medians["minimum"]
            print(
                f"{clients} client(s): p50 {daemon[0]:.2f} ms, p99 {daemon[1]:.2f} ms;"
                f" minimum p50 {minimum[0]:.2f} ms, p99 {minimum[1]:.2f} ms;"
                f" p50 {daemon[0] / minimum[0]:.2f} x"
            )
        for server in servers:
            server.terminate()
        jellyfin.terminate()


if __name__ == "__main__":
    main()
