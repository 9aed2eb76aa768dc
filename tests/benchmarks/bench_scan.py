"""First scan and unchanged scan of 100,000 items, compared with a client that only fetches and parses the pages.

Usage: `python -m tests.benchmarks.bench_scan [--items N]`. It prints a line for each scan: duration, ratio,
requests, written rows, memory, and the response times of /health during the scan.
"""

import argparse
import asyncio
import http.client
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import aiohttp
from fluxcaption.background_tasks import BackgroundTasks
from fluxcaption.daemon import Daemon
from fluxcaption.malloc import keep_memory_tight

from tests.fakes.jellyfin import KEY, new_id
from tests.support.app import settings

COMMON = {
    "parentId": new_id("movies"),
    "recursive": "true",
    "includeItemTypes": "Movie,Episode,Video,MusicVideo",
    "excludeLocationTypes": "Virtual",
    "enableImages": "false",
    "enableUserData": "false",
    "enableTotalRecordCount": "false",
    "collapseBoxSetItems": "false",
    "sortBy": "DateCreated,SortName",
    "sortOrder": "Ascending",
}


def fetch_pages(url: str, fields: str, size: int) -> tuple[float, int, int]:
    """Fetch and parse the pages over one connection. Return seconds, items and requests."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port)
    began, start, items, requests = time.perf_counter(), 0, 0, 0
    while True:
        query = urlencode({**COMMON, "fields": fields, "startIndex": start, "limit": size})
        connection.request("GET", f"/Items?{query}", headers={"Authorization": f'MediaBrowser Token="{KEY}"'})
        rows = json.loads(connection.getresponse().read())["Items"]
        requests += 1
        items += len(rows)
        if len(rows) < size:
            return time.perf_counter() - began, items, requests
        start += size - 20


def rss_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


async def poll_health(port: int, times: list[float]) -> None:
    async with aiohttp.ClientSession() as session:
        while True:
            began = time.perf_counter()
            async with session.get(f"http://127.0.0.1:{port}/health") as answer:
                await answer.read()
            times.append(time.perf_counter() - began)
            await asyncio.sleep(0.02)


async def measure_scans(url: str, state: Path) -> None:
    config = settings(
        state, {"type": "jellyfin", "url": url, "api_key": KEY}, ["de", "fr"], backlog={"mode": "none"}
    )
    daemon = Daemon(config)
    ready = asyncio.Event()

    async def never_connect(*_: Any) -> None:
        await asyncio.Event().wait()

    # The daemon must not scan by itself: the benchmark starts the scans.
    BackgroundTasks.connect_server = never_connect  # type: ignore[method-assign, assignment]
    running = asyncio.create_task(daemon.run(on_ready=ready.set))
    await ready.wait()
    assert daemon.app is not None
    assert daemon.web is not None
    assert daemon.web.port is not None
    app = daemon.app
    for name, fields, size in (
        ("first", "Path,MediaSources,ProviderIds,DateCreated,Etag", 200),
        ("unchanged", "Etag", 500),
    ):
        floor_s, items, requests = await asyncio.to_thread(fetch_pages, url, fields, size)
        times: list[float] = []
        polling = asyncio.create_task(poll_health(daemon.web.port, times))
        memory_before_mb, writer = rss_mb(), app.storage.database._writer  # type: ignore[attr-defined]
        changes_before = writer.total_changes
        began = time.perf_counter()
        app.set_server(await app.server.connect())
        report = await app.scanner.scan(full=True)
        duration_s = time.perf_counter() - began
        polling.cancel()
        times.sort()
        print(
            f"{name}: {report.items} items ({report.read} read) in {duration_s:.1f} s,"
            f" pages only {items} in {floor_s:.1f} s: {duration_s / floor_s:.2f} x; {requests} pages;"
            f" {writer.total_changes - changes_before} rows written;"
            f" memory {memory_before_mb:.0f} -> {rss_mb():.0f} MB;"
            f" health p50 {times[len(times) // 2] * 1000:.1f} ms,"
            f" p99 {times[int(len(times) * 0.99)] * 1000:.1f} ms of {len(times)}",
            flush=True,
        )
    daemon.stop()
    await running


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--items", type=int, default=100_000)
    options = parser.parse_args()
    keep_memory_tight()
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            [sys.executable, "-m", "tests.fakes.jellyfin", "--items", str(options.items)],
            stdout=subprocess.PIPE,
            text=True,
        ) as server,
    ):
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        try:
            asyncio.run(measure_scans(url, Path(folder)))
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
