"""Errors as `application/problem+json` (RFC 9457) with a stable code."""

import json

from aiohttp import web


def problem(status: int, code: str, detail: str) -> web.Response:
    """Return an error response; `detail` says what is wrong and what to do about it."""
    body = {
        "type": "about:blank",
        "title": code.replace("-", " "),
        "status": status,
        "code": code,
        "detail": detail,
    }
    return web.Response(
        status=status, body=json.dumps(body).encode(), content_type="application/problem+json"
    )
