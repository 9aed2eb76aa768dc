"""Checks exchanges of the fake server against Jellyfin's own OpenAPI documents."""

import json
import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import jsonschema
import pytest

from tests.fakes.jellyfin import Exchange

CONTRACT = Path(os.environ.get("JELLYFIN_CONTRACT") or Path(__file__).parents[3] / "shared" / "jellyfin")
DOCUMENTS = {"10.10.7": "openapi-10.10.7.json", "10.11.11": "openapi-10.11.11.json", "12.0.0": "openapi-12.0.0-2026-06.json"}
needs_contract = pytest.mark.skipif(not CONTRACT.is_dir(), reason="the Jellyfin contract is not beside this checkout (set JELLYFIN_CONTRACT)")

EXEMPT = {
    ("*", 401): "1.5: answered with an empty body, though the documents say nothing of a body",
    ("*", 400): "1.5: text or a validation problem, by what is wrong",
    ("*", 404): "1.5: text or a not-found problem, by the route",
    ("*", 416): "6: a range past the end",
    ("*", 500): "1.5: text, never documented",
    ("*", 503): "1.5: start-up pages",
    ("GET /Videos/{itemId}/stream", 206): "6: a range of the static stream",
    ("GET /System/Ping", 200): "2: documented as text, answered as a JSON string",
    ("GET /health", 200): "2: hidden route",
    ("POST /Users/Configuration", 403): "1.5: a JSON string where the document says a problem",
    ("GET /Plugins/{pluginId}/Configuration", 200): "appendix C: the members of a plugin's configuration are its own",
}
"""Statuses that the documents do not describe, each with its section of the server contract."""


@lru_cache(maxsize=3)
def document(version: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((CONTRACT / DOCUMENTS[version]).read_text(encoding="utf-8"))
    return value


def violations(exchange: Exchange, version: str) -> list[str]:
    """What an exchange does that the document of that version does not allow."""
    if any((name, exchange.status) in EXEMPT for name in ("*", f"{exchange.method} {exchange.route}")):
        return []
    if exchange.route == "/System/Info/Public" and b'"version"' in exchange.answer:
        # 2: the set-up server of 10.11 and later spells its keys in another way.
        return []
    api = document(version)
    path = next((path for path in api["paths"] if _same(path, exchange.route)), None)
    operation = api["paths"].get(path, {}).get(exchange.method.lower()) if path else None
    if operation is None:
        return [f"{exchange.method} {exchange.route} is not in the document"]
    found = []
    known = {parameter["name"].lower() for parameter in operation.get("parameters", [])} | {"apikey", "static", "mediasourceid"}
    found += [f"{exchange.route}: unknown query {name}" for name in exchange.query if name.lower() not in known]
    response = operation["responses"].get(str(exchange.status))
    if response is None:
        return [*found, f"{exchange.method} {exchange.route}: status {exchange.status} is not in the document"]
    schema = next((kind["schema"] for name, kind in response.get("content", {}).items() if name.split(";")[0] == "application/json"), None)
    if schema is not None and exchange.content_type == "application/json":
        found += [
            f"{exchange.route}: {problem.json_path}: {problem.message[:120]}"
            for problem in _validator(version, schema).iter_errors(json.loads(exchange.answer))
        ]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    if body is not None and exchange.body:
        found += [f"{exchange.route} request: {problem.message[:120]}" for problem in _validator(version, body).iter_errors(json.loads(exchange.body))]
    return found


def _same(documented: str, served: str) -> bool:
    def shape(path: str) -> str:
        return re.sub(r"\{[^}]*\}", "{}", unquote(path)).lower()

    return shape(documented) == shape(served)


def _validator(version: str, schema: dict[str, Any]) -> jsonschema.Draft202012Validator:
    checked = _nullable({"components": {"schemas": document(version)["components"]["schemas"]}, **schema})
    return jsonschema.Draft202012Validator(checked)


def _nullable(value: Any) -> Any:
    """OpenAPI 3.0's `nullable` as JSON Schema knows it; ids of 32 hex digits are uuids, too."""
    if isinstance(value, list):
        return [_nullable(part) for part in value]
    if not isinstance(value, dict):
        return value
    clean = {name: _nullable(part) for name, part in value.items() if name not in {"nullable", "format", "discriminator"}}
    if value.get("nullable") and "$ref" not in value:
        return {"anyOf": [clean, {"type": "null"}]}
    return clean
