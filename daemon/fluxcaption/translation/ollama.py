"""A language model behind Ollama, asked for JSON by schema and believed sentence by sentence."""

import hashlib
import json
from collections.abc import Mapping, Sequence

import aiohttp

from fluxcaption.domain.cues import TextUnit
from fluxcaption.domain.errors import ModelMissing, ReplyUnusable, ServiceUnreachable
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.units import UnitId
from fluxcaption.settings import OllamaTranslation
from fluxcaption.translation.replies import read_reply, schema_for

MAX_REPLY_BYTES = 2**20
CHARACTERS_PER_TOKEN = 2
"""Careful for scripts that need a token for each sign; too much context costs only memory."""

SPARE_TOKENS = 512
TIMEOUT = aiohttp.ClientTimeout(total=1800, connect=10, sock_read=600)


class OllamaTranslator:
    """POST /api/chat, streamed, so that a cancelled job stops the model."""

    def __init__(self, settings: OllamaTranslation) -> None:
        self._settings = settings
        self._url = settings.url.rstrip("/")
        self._session: aiohttp.ClientSession | None = None

    @property
    def name(self) -> str:
        """Backend and model."""
        return f"ollama {self._settings.model}"

    @property
    def revision(self) -> str:
        """The model's tag; the server may change what is behind it."""
        return self._settings.model

    @property
    def backend_id(self) -> str:
        """Everything that tells this backend from another."""
        return hashlib.sha256(self._settings.model_dump_json().encode()).hexdigest()[:12]

    def knows(self, source: LanguageTag, target: LanguageTag) -> bool:
        """Any pair is worth asking."""
        return True

    async def translate(
        self, units: Sequence[TextUnit], source: LanguageTag, target: LanguageTag
    ) -> Mapping[UnitId, str]:
        """Ask for a batch and believe each answer by itself."""
        reply = await self._chat(units, source, target)
        accepted = read_reply(reply, units, source, target)
        if not accepted:
            raise ReplyUnusable(f"{self.name} answered nothing usable for {len(units)} sentences")
        return accepted

    @property
    def is_loaded(self) -> bool:
        """Never in our memory."""
        return False

    async def unload(self) -> None:
        """The server unloads by itself."""

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _chat(self, units: Sequence[TextUnit], source: LanguageTag, target: LanguageTag) -> str:
        texts = {unit.id: unit.text for unit in units}
        question = json.dumps(texts, ensure_ascii=False)
        # The answer holds each sentence twice: the echo and the translation.
        answer_tokens = 3 * len(question) // CHARACTERS_PER_TOKEN + SPARE_TOKENS
        body = {
            "model": self._settings.model,
            "stream": True,
            "keep_alive": "5m",
            "format": schema_for(units),
            "options": {
                "temperature": 0,
                "num_ctx": len(question) // CHARACTERS_PER_TOKEN + answer_tokens + SPARE_TOKENS,
                "num_predict": answer_tokens,
            },
            "messages": [
                {
                    "role": "system",
                    "content": f"You translate film subtitles from {source} to {target}. The user gives a JSON object of sentences by id. "
                    'Answer with a JSON object that has for each id {"source": the sentence unchanged, "text": its translation}. '
                    "Translate every sentence by itself, keep names and numbers, add nothing.",
                },
                {"role": "user", "content": question},
            ],
        }
        session = self._open_session()
        try:
            async with session.post(f"{self._url}/api/chat", json=body, allow_redirects=False) as answer:
                if answer.status == 404:
                    raise ModelMissing(
                        self._settings.model,
                        f"{self._url} does not have it: run `ollama pull {self._settings.model}` there",
                    )
                if answer.status != 200:
                    raise ServiceUnreachable("Ollama", self._url, f"status {answer.status}")
                return await self._collected(answer)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ServiceUnreachable("Ollama", self._url, str(error) or type(error).__name__) from error

    async def _collected(self, answer: aiohttp.ClientResponse) -> str:
        """The message put together from the stream's lines."""
        parts: list[str] = []
        size = 0
        buffer = b""
        async for chunk in answer.content.iter_any():
            size += len(chunk)
            if size > MAX_REPLY_BYTES:
                raise ReplyUnusable(f"{self.name} answered more than 1 MiB")
            *lines, buffer = (buffer + chunk).split(b"\n")
            parts += [self._part(line) for line in lines if line.strip()]
        if buffer.strip():
            parts.append(self._part(buffer))
        return "".join(parts)

    def _part(self, line: bytes) -> str:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ReplyUnusable(
                f"{self.name} did not answer with JSON lines; is another service at {self._url}?"
            ) from error
        message = value.get("message") if isinstance(value, dict) else None
        content = message.get("content") if isinstance(message, dict) else None
        return content if isinstance(content, str) else ""

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=TIMEOUT, connector=aiohttp.TCPConnector(limit=self._settings.concurrency)
            )
        return self._session
