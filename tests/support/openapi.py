"""Checks of the fake server's exchanges against Jellyfin's own OpenAPI documents.

Checked are path, query, body, status, media type and every field of the answer.
"""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import jsonschema
import pytest

from tests.fakes.jellyfin import Exchange

CONTRACT = Path(os.environ.get("JELLYFIN_CONTRACT") or Path(__file__).parents[3] / "shared" / "jellyfin")
DOCUMENTS = {
    "10.10.7": "openapi-10.10.7.json",
    "10.11.11": "openapi-10.11.11.json",
    "12.0.0": "openapi-12.0.0-2026-06.json",
}
needs_contract = pytest.mark.skipif(
    not CONTRACT.is_dir(),
    reason="recorded exchanges of real servers are not beside this checkout (set JELLYFIN_CONTRACT)",
)

ERROR_TEXT = "Error processing request."

UNDOCUMENTED_ROUTES = {
    "GET /health": "J5: a route that the documents do not list",
}
UNDOCUMENTED_STATUSES = {
    ("GET /Items/{itemId}", 400): "J3: with a key and no user",
    ("GET /Items", 400): "J4: a value that its parameter does not allow",
    ("POST /Items/{itemId}/Refresh", 400): "J4: a bad id in the route",
    (
        "POST /Videos/{itemId}/Subtitles",
        400,
    ): "J29: a missing field, or a refused format or language",
    ("DELETE /Videos/{itemId}/Subtitles/{index}", 400): "J38: an index of no external subtitle",
    (
        "GET /Videos/{itemId}/{mediaSourceId}/Subtitles/{index}/Stream.{format}",
        400,
    ): "J24: an unknown item or format",
    (
        "GET /Videos/{itemId}/{mediaSourceId}/Subtitles/{index}/Stream.{format}",
        404,
    ): "J24: the file is gone from the disk",
    ("GET /Videos/{itemId}/stream", 206): "J28: a range of the static stream",
    ("GET /Videos/{itemId}/stream", 404): "J28: an unknown id",
    ("GET /Videos/{itemId}/stream", 416): "J28: a range past the end",
    ("HEAD /Videos/{itemId}/stream", 206): "J28: a range of the static stream",
    ("HEAD /Videos/{itemId}/stream", 404): "J28: an unknown id",
    ("HEAD /Videos/{itemId}/stream", 416): "J28: a range past the end",
    ("POST /Users/AuthenticateByName", 401): "J2 and J4: a wrong password",
    ("POST /ScheduledTasks/{taskId}/Triggers", 404): "J4: an unknown task",
}
"""Statuses of a route that the documents do not name, each with its fact in notes/jellyfin-server.md."""

COMMON_STATUSES = {
    302: ("J4: a wrong base path", {""}),
    401: ("J4: no body", {""}),
    403: ("J4: no body", {""}),
    500: ("J4: an unexpected error", {"text/plain"}),
    413: ("J6: a proxy in front of the server, for a body that is too large", {"text/html", "text/plain"}),
    502: ("J6: a proxy in front of a stopped server", {"text/html", "text/plain"}),
    503: ("J5: start pages; J4: a refused address", {"text/html", ""}),
}
"""Statuses that every route can answer, each with its fact and the media types of the answer."""

UNDOCUMENTED_BODIES = {
    ("GET /System/Ping", 200): "J5: documented as text, answered as a JSON string",
    ("POST /Users/Configuration", 403): "J4: a JSON string where the document has a problem",
    (
        "GET /Plugins/{pluginId}/Configuration",
        200,
    ): "J44: the fields of a configuration depend on the plugin",
    (
        "GET /System/Info/Public",
        200,
    ): "J5: a starting server has keys in another case; other answers are checked",
    (
        "GET /Videos/{itemId}/{mediaSourceId}/Subtitles/{index}/Stream.{format}",
        200,
    ): "J24: the media type is the track's, not text/*",
}
"""Answers whose body differs from the documents."""

UNDOCUMENTED_QUERY = {"apikey": "J1: the key as a query parameter of any route"}
"""Query parameters of every route that the documents do not name."""


@lru_cache(maxsize=3)
def document(version: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((CONTRACT / DOCUMENTS[version]).read_text(encoding="utf-8"))
    return value


def violations(exchange: Exchange, version: str) -> list[str]:
    """Return the differences between an exchange and the document of a version."""
    name = f"{exchange.method} {exchange.route}"
    if name in UNDOCUMENTED_ROUTES:
        return []
    operation, path = _operation(version, exchange.method, exchange.route)
    if operation is None:
        return [] if _is_below_another_base(exchange, version) else [f"{name} is not in the document"]
    found = [*_parameters(exchange, operation, path, version), *_body(exchange, operation, version)]
    if exchange.broken != "hung up":
        found += _answer(exchange, name, operation, version)
    return [f"{name} ({exchange.status}): {problem}" for problem in found]


def _parameters(exchange: Exchange, operation: Mapping[str, Any], path: str, version: str) -> Iterator[str]:
    places = {
        parameter["name"].lower(): parameter
        for parameter in operation.get("parameters", [])
        if parameter["in"] == "query"
    }
    given = {name.lower(): value for name, value in exchange.query.items()}
    for name, value in given.items():
        if name in places:
            yield from (
                f"query {name}: {problem}" for problem in _scalar(value, places[name]["schema"], version)
            )
        elif name not in UNDOCUMENTED_QUERY:
            yield f"unknown query {name}"
    yield from (
        f"query {name} is required"
        for name, parameter in places.items()
        if parameter.get("required") and name not in given
    )
    in_path = {
        parameter["name"].lower(): parameter["schema"]
        for parameter in operation.get("parameters", [])
        if parameter["in"] == "path"
    }
    pattern = re.sub(r"\\\{(\w+)\\\}", lambda match: f"(?P<{match[1].lower()}>[^/]+)", re.escape(path))
    match = re.fullmatch(pattern, unquote(exchange.path), re.IGNORECASE)
    for name, value in (match.groupdict() if match else {}).items():
        if exchange.status != 400:
            yield from (
                f"path {name}: {problem}" for problem in _scalar(value, in_path.get(name, {}), version)
            )
    if match is None:
        yield f"{exchange.path} is not {path}"


def _body(exchange: Exchange, operation: Mapping[str, Any], version: str) -> Iterator[str]:
    documented = operation.get("requestBody", {})
    kinds = documented.get("content", {})
    given = next(
        (value for name, value in exchange.headers.items() if name.lower() == "content-type"), ""
    ).split(";")[0]
    if not exchange.body:
        if documented.get("required"):
            yield "a body is required"
    elif kinds and given not in kinds:
        yield f"a body of {given or 'no media type'}"
    elif kinds:
        yield from (f"body {problem}" for problem in _json(exchange.body, version, kinds[given]["schema"]))


def _answer(exchange: Exchange, name: str, operation: Mapping[str, Any], version: str) -> Iterator[str]:
    documented = operation["responses"].get(str(exchange.status))
    if (name, exchange.status) in UNDOCUMENTED_STATUSES:
        return
    if (name, exchange.status) in UNDOCUMENTED_BODIES and documented is not None:
        if name != "GET /System/Info/Public" or b'"version"' in exchange.answer:
            return
    elif exchange.status in COMMON_STATUSES:
        if exchange.content_type not in COMMON_STATUSES[exchange.status][1] or (
            exchange.status == 500 and exchange.answer.decode() != ERROR_TEXT and exchange.answer
        ):
            yield f"an answer of {exchange.content_type}"
        return
    if documented is None:
        yield "the status is not in the document"
        return
    kinds = {
        kind.split(";")[0]: value
        for kind, value in documented.get("content", {}).items()
        if "profile" not in kind
    }
    if exchange.method == "HEAD" or exchange.broken:
        return
    if bool(kinds) != bool(exchange.content_type):
        yield f"an answer of {exchange.content_type or 'nothing'}"
    elif kinds and not any(re.fullmatch(kind.replace("*", ".*"), exchange.content_type) for kind in kinds):
        yield f"an answer of {exchange.content_type}"
    elif exchange.content_type == "application/json":
        yield from (
            f"answer {problem}"
            for problem in _json(exchange.answer, version, kinds["application/json"]["schema"])
        )


# Values


def _scalar(text: str, schema: Mapping[str, Any], version: str) -> list[str]:
    """Return the problems of a value in a path or query; commas separate the values of a list."""
    value: Any = text
    kind = schema.get("type")
    if kind == "array":
        return [
            problem for part in text.split(",") if part for problem in _scalar(part, schema["items"], version)
        ]
    if kind == "integer" and re.fullmatch(r"-?\d+", text):
        value = int(text)
    elif kind == "boolean" and text.lower() in {"true", "false"}:
        value = text.lower() == "true"
    return _problems(version, json.dumps(schema, sort_keys=True), json.dumps(value))


def _json(content: bytes, version: str, schema: Mapping[str, Any]) -> list[str]:
    try:
        value = json.loads(content)
    except ValueError:
        return ["is not JSON"]
    return _problems(version, json.dumps(schema, sort_keys=True), json.dumps(_outline(value)))


def _outline(value: Any) -> Any:
    """Return a smaller value with the same validity, so that the results of the checks can be cached.

    Ids, dates and other text become one example each, and equal members of a list become one.
    """
    if isinstance(value, dict):
        return {name: _outline(part) for name, part in value.items()}
    if isinstance(value, list):
        parts = [_outline(part) for part in value]
        return list({json.dumps(part, sort_keys=True): part for part in parts}.values())
    if isinstance(value, str):
        return next((example for pattern, example in _EXAMPLES if pattern.fullmatch(value)), value)
    return 1 if type(value) is int and abs(value) < 2**31 else value


_EXAMPLES = [
    (re.compile(r"[0-9a-f]{32}"), "0" * 32),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,7})?Z"), "2026-01-01T00:00:00Z"),
    (re.compile(r".*[^A-Za-z0-9].*", re.DOTALL), "some text"),
]


@lru_cache(maxsize=20_000)
def _problems(version: str, schema: str, value: str) -> list[str]:
    return [
        f"{problem.json_path}: {problem.message[:120]}"
        for problem in _validator(version, schema).iter_errors(json.loads(value))
    ]


@lru_cache(maxsize=500)
def _validator(version: str, schema: str) -> jsonschema.Draft202012Validator:
    whole = _nullable(
        {"components": {"schemas": document(version)["components"]["schemas"]}, **json.loads(schema)}
    )
    return jsonschema.Draft202012Validator(whole, format_checker=FORMATS)


FORMATS = jsonschema.FormatChecker(formats=())


def _format(name: str, is_right: Callable[[Any], bool]) -> None:
    FORMATS.checks(name)(is_right)


# Requests and answers have ids with or without dashes (J15).
_format(
    "uuid",
    lambda value: (
        not isinstance(value, str)
        or re.fullmatch(r"[0-9a-fA-F]{32}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", value)
        is not None
    ),
)
_format(
    "date-time",
    lambda value: (
        not isinstance(value, str)
        or re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,7})?Z", value) is not None
    ),
)
_format("int32", lambda value: not isinstance(value, int) or -(2**31) <= value < 2**31)


@lru_cache(maxsize=500)
def _operation(version: str, method: str, route: str) -> tuple[dict[str, Any] | None, str]:
    def shape(path: str) -> str:
        return re.sub(r"\{[^}]*\}", "{}", unquote(path)).lower()

    paths = document(version)["paths"]
    path = next((path for path in paths if shape(path) == shape(route)), "")
    return paths.get(path, {}).get(method.lower()), path


def _is_below_another_base(exchange: Exchange, version: str) -> bool:
    """Return True for a documented route below a wrong base path, which the server redirects (J4)."""
    path = "/" + exchange.path.lstrip("/").partition("/")[2]
    return exchange.status in {302, 404} and _operation(version, exchange.method, path)[0] is not None


def _nullable(value: Any) -> Any:
    """Return a schema with OpenAPI 3.0's `nullable` expressed in JSON Schema."""
    if isinstance(value, list):
        return [_nullable(part) for part in value]
    if not isinstance(value, dict):
        return value
    converted = {
        name: _nullable(part) for name, part in value.items() if name not in {"nullable", "discriminator"}
    }
    if value.get("nullable") and "$ref" not in value:
        return {"anyOf": [converted, {"type": "null"}]}
    return converted
