"""Translation by a language model behind Ollama, which answers with JSON by a schema.

Source: Ollama documentation, "API", `POST /api/chat`, and "Structured outputs".
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp

from fluxcaption.domain.cues import TextUnit
from fluxcaption.domain.errors import ModelMissing, ReplyUnusable, ServiceUnreachable
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.units import UnitId
from fluxcaption.settings import OllamaTranslation
from fluxcaption.translation.replies import read_reply, schema_for

MAX_REPLY_BYTES = 2**20
CHARS_PER_TOKEN = 2
"""Estimate that also holds for scripts with a token per character; too large a context costs only memory."""

SPARE_TOKENS = 512
TOTAL_TIMEOUT_S = 1800
CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 600
"""Longest wait for the next part of the answer; loading a large model takes minutes."""

SYSTEM_PROMPT = (
    "You translate film subtitles from {source} to {target}. "
    "The user gives a JSON object of sentences by id. Answer with a JSON object that has for each id "
    '{{"source": the sentence unchanged, "text": its translation}}. '
    "Translate every sentence by itself, keep names and numbers, add nothing."
)


class OllamaTranslator:
    """Translator over `POST /api/chat`, streamed, so that the model stops when the request is cancelled."""

    def __init__(self, settings: OllamaTranslation) -> None:
        self._settings = settings
        self._url = settings.url.rstrip("/")
        self._session: aiohttp.ClientSession | None = None

    @property
    def name(self) -> str:
        """Return `ollama` and the model."""
        return f"ollama {self._settings.model}"

    @property
    def revision(self) -> str:
        """Return the model's tag; the server may replace the model behind it."""
        return self._settings.model

    @property
    def backend_id(self) -> str:
        """Return a hash of all settings of the backend, its address included."""
        return hashlib.sha256(self._settings.model_dump_json().encode()).hexdigest()[:12]

    def knows(self, source: LanguageTag, target: LanguageTag) -> bool:
        """Return True: language models state no list of pairs."""
        return True

    async def translate(
        self, units: Sequence[TextUnit], source: LanguageTag, target: LanguageTag
    ) -> Mapping[UnitId, str]:
        """Translate a batch in one request and return the accepted translations."""
        reply = await self._chat(units, source, target)
        accepted = read_reply(reply, units, source, target)
        if not accepted:
            raise ReplyUnusable(f"{self.name} gave no usable translation for {len(units)} sentences")
        return accepted

    @property
    def is_loaded(self) -> bool:
        """Return False: the model is in the memory of the server."""
        return False

    async def unload(self) -> None:
        """Do nothing: the server unloads the model by itself."""

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _chat(self, units: Sequence[TextUnit], source: LanguageTag, target: LanguageTag) -> str:
        """Send one request and return the text of the answer."""
        body = self._request_body(units, source, target)
        session = self._open_session()
        try:
            async with session.post(f"{self._url}/api/chat", json=body, allow_redirects=False) as response:
                if response.status == 404:
                    raise ModelMissing(
                        self._settings.model,
                        f"{self._url} does not have it. Run `ollama pull {self._settings.model}` there.",
                    )
                if response.status != 200:
                    raise ServiceUnreachable("Ollama", self._url, f"status {response.status}")
                return await self._read_stream(response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ServiceUnreachable("Ollama", self._url, str(error) or type(error).__name__) from error

    def _request_body(
        self, units: Sequence[TextUnit], source: LanguageTag, target: LanguageTag
    ) -> dict[str, Any]:
        sentences = json.dumps({unit.id: unit.text for unit in units}, ensure_ascii=False)
        # The answer repeats each sentence beside its translation.
        answer_tokens = 3 * len(sentences) // CHARS_PER_TOKEN + SPARE_TOKENS
        return {
            "model": self._settings.model,
            "stream": True,
            "keep_alive": "5m",
            "format": schema_for(units),
            "options": {
                "temperature": 0,
                "num_ctx": len(sentences) // CHARS_PER_TOKEN + answer_tokens + SPARE_TOKENS,
                "num_predict": answer_tokens,
            },
            "messages": [
                {"role": "system", "content": SYSTEM_PROMPT.format(source=source, target=target)},
                {"role": "user", "content": sentences},
            ],
        }

    async def _read_stream(self, response: aiohttp.ClientResponse) -> str:
        """Return the message, which arrives in parts, one JSON object per line."""
        parts: list[str] = []
        size = 0
        buffer = b""
        async for chunk in response.content.iter_any():
            size += len(chunk)
            if size > MAX_REPLY_BYTES:
                raise ReplyUnusable(f"{self.name} answered with more than {MAX_REPLY_BYTES // 2**20} MiB")
            *lines, buffer = (buffer + chunk).split(b"\n")
            parts += [self._message_part(line) for line in lines if line.strip()]
        if buffer.strip():
            parts.append(self._message_part(buffer))
        return "".join(parts)

    def _message_part(self, line: bytes) -> str:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ReplyUnusable(
                f"{self.name} did not answer with JSON lines. Check that Ollama runs at {self._url}."
            ) from error
        message = value.get("message") if isinstance(value, dict) else None
        content = message.get("content") if isinstance(message, dict) else None
        return content if isinstance(content, str) else ""

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(
                    total=TOTAL_TIMEOUT_S, connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S
                ),
                connector=aiohttp.TCPConnector(limit=self._settings.concurrency),
            )
        return self._session
