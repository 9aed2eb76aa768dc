"""Log output as text or JSON lines, with the id of the running job and without secrets."""

import json
import logging
import re
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TextIO

_job: ContextVar[int | None] = ContextVar("job", default=None)
_STANDARD_ATTRIBUTES = frozenset(logging.LogRecord("", 0, "", 0, "", (), None).__dict__) | {
    "message",
    "asctime",
    "taskName",
}
_SECRET = re.compile(
    r"(?i)(token=\"?|api_?key=|authorization:\s*(?:bearer\s+|mediabrowser\s+)?|bearer\s+)[^\s\",&]+"
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
MIN_SECRET_LENGTH = 6
"""Shorter values are not redacted, since they also occur in ordinary words."""


def one_line(text: str) -> str:
    """Escape control characters, line breaks, bidirectional controls and surrogates.

    Foreign names in the text can then neither break the line nor move the cursor nor reverse the direction.
    """
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


@contextmanager
def job_context(job_id: int) -> Iterator[None]:
    """Add the id of a job to every line that is logged inside the context."""
    token = _job.set(job_id)
    try:
        yield
    finally:
        _job.reset(token)


class _Redaction:
    """Removal of secrets from finished lines, arguments and tracebacks included."""

    def __init__(self, secrets: Collection[str]) -> None:
        self._secrets = sorted(
            (secret for secret in secrets if len(secret) >= MIN_SECRET_LENGTH), key=len, reverse=True
        )

    def redact(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return _SECRET.sub(r"\1***", text)


class _Formatter(logging.Formatter):
    """Formatter of one line per record: the message, then the facts from `extra`."""

    def __init__(self, redaction: _Redaction, *, is_json: bool, with_traceback: bool) -> None:
        super().__init__()
        self._redaction = redaction
        self._is_json = is_json
        self._with_traceback = with_traceback

    def format(self, record: logging.LogRecord) -> str:
        facts = {name: value for name, value in record.__dict__.items() if name not in _STANDARD_ATTRIBUTES}
        if (job := _job.get()) is not None:
            facts.setdefault("job", job)
        error = ""
        if record.exc_info and record.exc_info[1] is not None:
            error = (
                self.formatException(record.exc_info)
                if self._with_traceback
                else f"{type(record.exc_info[1]).__name__}: {record.exc_info[1]}"
            )
        created_at = datetime.fromtimestamp(record.created, UTC)
        if self._is_json:
            line = json.dumps(
                {
                    "at": created_at.isoformat(),
                    "level": record.levelname.lower(),
                    "logger": record.name,
                    "message": record.getMessage(),
                    **facts,
                    **({"error": error} if error else {}),
                },
                default=str,
                ensure_ascii=False,
            )
        else:
            message = record.getMessage() + "".join(f" {name}={value}" for name, value in facts.items())
            line = f"{created_at.astimezone():%H:%M:%S} {record.levelname.lower():7} {one_line(message)}"
            if error:
                line += "\n" + (error if self._with_traceback else one_line(error))
        return self._redaction.redact(line)


def set_up_logging(
    level: str, form: str, secrets: Collection[str] = (), stream: TextIO | None = None, *, debug: bool = False
) -> None:
    """Log to one stream: this package from `level` on, libraries from WARNING on.

    `form` is `text`, `json` or `auto` (text on a terminal, else JSON). `debug` adds tracebacks to text.
    """
    out = stream or sys.stderr
    is_json = form == "json" or (form == "auto" and not out.isatty())
    handler = logging.StreamHandler(out)
    handler.setFormatter(_Formatter(_Redaction(secrets), is_json=is_json, with_traceback=debug or is_json))
    root = logging.getLogger()
    for previous in list(root.handlers):
        root.removeHandler(previous)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("fluxcaption").setLevel(level.upper())
