"""The Jellyfin client with a server that is silent or slow, or that requests a pause."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress

import pytest
from fluxcaption.domain.errors import ServiceUnreachable
from fluxcaption.jellyfin.client import CALL_CONCURRENCY, JellyfinClient
from fluxcaption.settings import JellyfinConfig


@asynccontextmanager
async def client_of_server(answer: bytes | None) -> AsyncIterator[tuple[JellyfinClient, list[str]]]:
    """Yield a client of a server that gives one answer to every request, or none; and the requested paths."""
    paths: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        paths.append((await reader.readline()).decode().split()[1])
        if answer is not None and not paths[-1].startswith("/slow"):
            writer.write(answer)
        else:
            await reader.read()
            await reader.read(1)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    client = JellyfinClient(
        JellyfinConfig(type="jellyfin", url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"), "1"
    )
    try:
        yield client, paths
    finally:
        await client.close()
        server.close()


def response(status: str, *headers: str) -> bytes:
    return "\r\n".join(
        [
            f"HTTP/1.1 {status}",
            "Content-Length: 2",
            "Connection: close",
            "Content-Type: application/json",
            *headers,
            "",
            "{}",
        ]
    ).encode()


async def wait_for_requests(paths: list[str], count: int) -> None:
    async with asyncio.timeout(10):
        while len(paths) < count:
            await asyncio.sleep(0.01)


async def test_closing_aborts_a_call_without_a_response() -> None:
    async with client_of_server(None) as (client, paths):
        call = asyncio.create_task(client.call("GET", "/silent", timeout_s=600))
        await wait_for_requests(paths, 1)
        await client.close()
        async with asyncio.timeout(5):
            with pytest.raises(ServiceUnreachable):
                await call


async def test_long_calls_do_not_delay_short_calls() -> None:
    async with client_of_server(response("200 OK")) as (client, paths):
        long = [
            asyncio.create_task(client.call("GET", "/slow", timeout_s=2000))
            for _ in range(CALL_CONCURRENCY + 1)
        ]
        await wait_for_requests(paths, 1)
        async with asyncio.timeout(5):
            assert (await client.call("GET", "/quick")).status == 200
        await client.close()
        await asyncio.gather(*long, return_exceptions=True)


@pytest.mark.parametrize("status", ["503 Service Unavailable", "429 Too Many Requests"])
@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("Retry-After: 120", 120),
        ("Retry-After: soon", 10),
        ("Retry-After: Wed, 21 Oct 2015 07:28:00 GMT", 10),
        ("Retry-After: -5", 10),
        ("Server: plain", 10),
    ],
)
async def test_the_pause_requested_by_a_server_is_passed_on(status: str, header: str, seconds: float) -> None:
    async with client_of_server(response(status, header)) as (client, _):
        with pytest.raises(ServiceUnreachable) as raised:
            await client.call("GET", "/items")
        assert raised.value.retry_after_s == seconds
        assert not raised.value.was_sent


async def test_a_slow_response_is_aborted_at_its_timeout() -> None:
    connections: list[asyncio.Task[None] | None] = []

    async def send_slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(asyncio.current_task())
        with suppress(OSError), closing(writer):
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
            )
            while not writer.is_closing():
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.02)

    server = await asyncio.start_server(send_slowly, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    client = JellyfinClient(JellyfinConfig.model_validate({"url": url}), "1")
    async with asyncio.timeout(5):
        calls = [client.call("GET", "/System/Info", timeout_s=0.3) for _ in range(4)]
        for error in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(error, ServiceUnreachable)
            assert "no answer in time" in str(error)
    await client.close()
    server.close()
    await asyncio.gather(*(connection for connection in connections if connection))
