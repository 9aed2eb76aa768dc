"""An Ollama server over a real socket, with a given translation function and the faults of real models."""

import asyncio
import json
from collections.abc import Callable
from typing import Any, Self

from aiohttp import web

Fault = Callable[[dict[str, dict[str, str]]], str]


def fenced(answer: dict[str, dict[str, str]]) -> str:
    return "Here you are:\n```json\n" + json.dumps(answer) + "\n```"


def truncated(answer: dict[str, dict[str, str]]) -> str:
    return json.dumps(answer)[: -max(3, len(json.dumps(answer)) // 3)]


def missing_one(answer: dict[str, dict[str, str]]) -> str:
    return json.dumps(dict(list(answer.items())[1:]))


def shifted(answer: dict[str, dict[str, str]]) -> str:
    """Answer each translation under the next id."""
    texts = [entry["text"] for entry in answer.values()]
    return json.dumps(
        {
            name: {**entry, "text": text}
            for (name, entry), text in zip(answer.items(), texts[1:] + texts[:1], strict=True)
        }
    )


def shifted_from_the_middle(answer: dict[str, dict[str, str]]) -> str:
    """Answer the translations of the second half under the id before."""
    texts = [entry["text"] for entry in answer.values()]
    at = len(texts) // 2
    moved = [*texts[:at], *texts[at + 1 :], texts[at]]
    return json.dumps(
        {name: {**entry, "text": text} for (name, entry), text in zip(answer.items(), moved, strict=True)}
    )


def backwards(answer: dict[str, dict[str, str]]) -> str:
    """Answer the translations in reverse order."""
    texts = [entry["text"] for entry in answer.values()][::-1]
    return json.dumps(
        {name: {**entry, "text": text} for (name, entry), text in zip(answer.items(), texts, strict=True)}
    )


def shifted_whole(answer: dict[str, dict[str, str]]) -> str:
    """Answer echo and translation under the next id."""
    entries = list(answer.values())
    return json.dumps(dict(zip(answer, entries[1:] + entries[:1], strict=True)))


def echoed(answer: dict[str, dict[str, str]]) -> str:
    return json.dumps({name: {**entry, "text": entry["source"]} for name, entry in answer.items()})


def emptied(answer: dict[str, dict[str, str]]) -> str:
    return json.dumps({name: {**entry, "text": ""} for name, entry in answer.items()})


def thinking(answer: dict[str, dict[str, str]]) -> str:
    return "<think>The man is a {man}.</think>" + json.dumps(answer)


def refusing(answer: dict[str, dict[str, str]]) -> str:
    return "I'm sorry, I cannot help with that."


class FakeOllama:
    """The route `POST /api/chat`, answered as a stream.

    Attributes:
        translate_text: Translation of one sentence.
        model: The only model that is present.
        faults: Faults of the next requests, one for each: a changed answer, an error status, `html`,
            `hang up`, or `previous batch` for the answer to the request before; None for no fault.
        requests: Bodies of the requests.
    """

    def __init__(self, translate_text: Callable[[str], str], model: str = "tiny") -> None:
        self.translate_text = translate_text
        self.model = model
        self.faults: list[Fault | int | str | None] = []
        self.requests: list[dict[str, Any]] = []
        self.url = ""
        self._last_reply = ""
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=10_000_000)
        app.router.add_post("/api/chat", self._chat)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.requests.append(body)
        fault = self.faults.pop(0) if self.faults else None
        if body["model"] != self.model:
            return web.json_response({"error": f"model '{body['model']}' not found"}, status=404)
        if isinstance(fault, int):
            return web.Response(status=fault, text="broken")
        if fault == "html":
            return web.Response(text="<html>nginx</html>", content_type="text/html")
        texts = json.loads(body["messages"][-1]["content"])
        answer = {name: {"source": text, "text": self.translate_text(text)} for name, text in texts.items()}
        reply = fault(answer) if callable(fault) else json.dumps(answer, ensure_ascii=False)
        if fault == "previous batch":
            reply = self._last_reply
        self._last_reply = reply
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        for at in range(0, len(reply), 50):
            await response.write(
                json.dumps(
                    {"message": {"role": "assistant", "content": reply[at : at + 50]}, "done": False}
                ).encode()
                + b"\n"
            )
            if fault == "hang up" and at:
                assert request.transport is not None
                request.transport.abort()
                return response
            await asyncio.sleep(0)
        await response.write(b'{"message": {"role": "assistant", "content": ""}, "done": true}\n')
        return response
