"""How fast the running daemon acknowledges an event once it is on disk, beside the bare floor: aiohttp and one fsync.

`python -m tests.benchmarks.bench_webhook` alternates five runs of each, with one client and with 32, and prints medians and ratios.
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

RUNS, EVENTS = 5, {1: 400, 32: 4000}


async def serve(handler: Callable[[web.Request], Any], told: Connection) -> None:
    app = web.Application(client_max_size=64 * 1024)
    app.router.add_post("/webhook/jellyfin", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    told.send(runner.addresses[0][1])
    await asyncio.Event().wait()


def floor(folder: str, told: Connection) -> None:
    """The least that keeps the promise: the body in a file, one fsync, the answer."""
    file = os.open(Path(folder, "events"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def receive(request: web.Request) -> web.Response:
        body = await request.read()
        os.write(file, body)
        os.fsync(file)
        return web.json_response({"id": 1}, status=202)

    asyncio.run(serve(receive, told))


def ours(folder: str, told: Connection) -> None:
    """The whole daemon beside a server, as it is run; what it does with the events it does meanwhile."""
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
        told.send(daemon.web.port)
        await running

    asyncio.run(run())


async def load(port: int, clients: int, serial: int) -> list[float]:
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
        for name, target in (("floor", floor), ("ours", ours)):
            Path(folder, name).mkdir()
            Path(folder, name, "server").write_text(url, encoding="utf-8")
            here, there = context.Pipe()
            servers.append(context.Process(target=target, args=(str(Path(folder, name)), there), daemon=True))
            servers[-1].start()
            ports[name] = here.recv()
        serial = 0
        for clients in EVENTS:
            p50: dict[str, list[float]] = {"floor": [], "ours": []}
            p99: dict[str, list[float]] = {"floor": [], "ours": []}
            for _ in range(RUNS):
                for name, port in ports.items():
                    serial += 1
                    times = asyncio.run(load(port, clients, serial))
                    p50[name].append(times[len(times) // 2] * 1000)
                    p99[name].append(times[int(len(times) * 0.99)] * 1000)
            told = {name: (statistics.median(p50[name]), statistics.median(p99[name])) for name in ports}
            print(
                f"{clients} client(s): p50 {told['ours'][0]:.2f} ms, p99 {told['ours'][1]:.2f} ms; floor p50 {told['floor'][0]:.2f} ms, p99 {told['floor'][1]:.2f} ms;"
                f" p50 {told['ours'][0] / told['floor'][0]:.2f} x"
            )
        for server in servers:
            server.terminate()
        jellyfin.terminate()


if __name__ == "__main__":
    main()
