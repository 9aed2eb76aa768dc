"""Answers and ids in the form that the server uses."""

import json
import re
from typing import Any

from aiohttp import web

HEX = re.compile(r"[0-9a-f]{32}")


def parameter(text: str, name: str = "Token") -> str | None:
    """Return one parameter of an authorization header."""
    match = re.search(rf'(?:^|[,\s]){name}="?([^",]*)"?', text)
    return match[1] if match else None


def guid(text: str) -> str | None:
    """Return an id with or without dashes as 32 hex digits; None if it is no id."""
    plain = text.replace("-", "").lower()
    return plain if HEX.fullmatch(plain) else None


def answer_json(value: Any, status: int = 200) -> web.Response:
    return web.Response(
        status=status,
        body=json.dumps(value, ensure_ascii=False).encode(),
        headers={"Content-Type": "application/json; charset=utf-8"},
    )


def answer_text(status: int) -> web.Response:
    return web.Response(status=status, text="Error processing request.", content_type="text/plain")


def invalid(name: str, value: str) -> web.Response:
    return answer_json(
        {
            "type": "https://tools.ietf.org/html/rfc9110#section-15.5.1",
            "title": "One or more validation errors occurred.",
            "status": 400,
            "errors": {name: [f"The value '{value}' is not valid."]},
            "traceId": "00-0-0-00",
        },
        400,
    )


def not_found() -> web.Response:
    return answer_json(
        {
            "type": "https://tools.ietf.org/html/rfc9110#section-15.5.5",
            "title": "Not Found",
            "status": 404,
            "traceId": "00-0-0-00",
        },
        404,
    )
