"""Log lines with the job they belong to, as text or JSON, without secrets."""

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
_PLAIN = frozenset(logging.LogRecord("", 0, "", 0, "", (), None).__dict__) | {
    "message",
    "asctime",
    "taskName",
}
_SECRET = re.compile(
    r"(?i)(token=\"?|api_?key=|authorization:\s*(?:bearer\s+|mediabrowser\s+)?|bearer\s+)[^\s\",&]+"
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
MIN_SECRET = 6
"""Shorter values would blot out ordinary words."""


def one_line(text: str) -> str:
    """A text with names from elsewhere in it, so that none of them can break the line, move the cursor or turn the direction of writing."""
    return _CONTROL.sub(lambda sign: sign[0].encode("unicode_escape").decode(), text)


@contextmanager
def job_context(job_id: int) -> Iterator[None]:
    """Put a job's number on every line written inside."""
    token = _job.set(job_id)
    try:
        yield
    finally:
        _job.reset(token)


class _Redaction(logging.Filter):
    """Works on the finished line, so that no argument escapes it."""

    def __init__(self, secrets: Collection[str]) -> None:
        super().__init__()
        self._secrets = sorted(
            (secret for secret in secrets if len(secret) >= MIN_SECRET), key=len, reverse=True
        )

    def clean(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return _SECRET.sub(r"\1***", text)


class _Formatter(logging.Formatter):
    def __init__(self, redaction: _Redaction, *, is_json: bool, with_traceback: bool) -> None:
        super().__init__()
        self._redaction = redaction
        self._is_json = is_json
        self._with_traceback = with_traceback

    def format(self, record: logging.LogRecord) -> str:
        facts = {name: value for name, value in record.__dict__.items() if name not in _PLAIN}
        if (job := _job.get()) is not None:
            facts.setdefault("job", job)
        error = ""
        if record.exc_info and record.exc_info[1] is not None:
            error = (
                self.formatException(record.exc_info)
                if self._with_traceback
                else f"{type(record.exc_info[1]).__name__}: {record.exc_info[1]}"
            )
        at = datetime.fromtimestamp(record.created, UTC)
        if self._is_json:
            line = json.dumps(
                {
                    "at": at.isoformat(),
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
            tail = "".join(f" {name}={value}" for name, value in facts.items())
            line = f"{at.astimezone():%H:%M:%S} {record.levelname.lower():7} {one_line(record.getMessage() + tail)}"
            if error:
                line += "\n" + (error if self._with_traceback else one_line(error))
        return self._redaction.clean(line)


def set_up_logging(
    level: str, form: str, secrets: Collection[str] = (), stream: TextIO | None = None, *, debug: bool = False
) -> None:
    """Send everything to one stream; libraries speak from warning on."""
    out = stream or sys.stderr
    is_json = form == "json" or (form == "auto" and not out.isatty())
    handler = logging.StreamHandler(out)
    handler.setFormatter(_Formatter(_Redaction(secrets), is_json=is_json, with_traceback=debug or is_json))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("fluxcaption").setLevel(level.upper())
