"""Recorded exchanges of real Jellyfin servers, and the comparison of a recorded answer with another one."""

import json
import re
from email.utils import parsedate_to_datetime
from typing import Any

from tests.fakes.jellyfin.library import SERVER_ID
from tests.support.openapi import CONTRACT

VARIABLE_FIELDS = frozenset(
    {
        "Etag",
        "traceId",
        "ServerName",
        "LocalAddress",
        "errors",
        "type",
        "ImageTags",
        "WebPath",
        "ProgramDataPath",
        "ItemsByNamePath",
        "CachePath",
        "LogPath",
        "InternalMetadataPath",
        "TranscodingTempPath",
        "WebSocketPortNumber",
    }
)
"""Fields whose values differ by server or by answer: only their presence is compared."""

IGNORED_FIELDS = frozenset({"UserData", "Score"})
"""The viewing history of a user and the weight of a track, which FluxCaption does not read."""

IGNORED_EXTERNAL_FIELDS = re.compile(
    r"DisplayTitle|Localized\w+|TimeBase|Level|IsAVC|Height|Width|BitRate|Channels|ChannelLayout|SampleRate|Profile"
)
"""Fields of an external track that the fake leaves out, because FluxCaption does not read them."""


def recorded_exchanges(folder: str) -> list[dict[str, Any]]:
    """Return all exchanges with one server in the order in which they happened."""
    recorded = CONTRACT / "recorded" / folder
    first = json.loads((recorded / "auth.jsonl").read_text(encoding="utf-8").splitlines()[0])
    server_id = first["response"]["body"]["Id"]
    files = []
    for file in sorted(recorded.glob("*.jsonl")):
        lines = file.read_text(encoding="utf-8").replace(server_id, SERVER_ID).splitlines()
        exchanges = [{**json.loads(line), "file": file.stem} for line in lines]
        files.append((parsedate_to_datetime(exchanges[0]["response"]["headers"]["Date"]), exchanges))
    return [exchange for _, exchanges in sorted(files, key=lambda dated: dated[0]) for exchange in exchanges]


def difference(real: Any, fake: Any, path: str = "") -> str | None:
    """Return the first place where two answers differ; None if they agree."""
    if isinstance(real, dict) and isinstance(fake, dict):
        is_external = bool(real.get("IsExternal")) and "Index" in real
        for name in sorted(set(real) | set(fake)):
            if name in IGNORED_FIELDS or (is_external and IGNORED_EXTERNAL_FIELDS.fullmatch(name)):
                continue
            if (name in real) != (name in fake):
                return f"{path}.{name}: only {'the server' if name in real else 'the fake'} has it"
            if name == "DateCreated" and real[name][:23] == fake[name][:23]:
                continue
            if name in VARIABLE_FIELDS:
                continue
            if found := difference(real[name], fake[name], f"{path}.{name}"):
                return found
        return None
    if isinstance(real, list) and isinstance(fake, list):
        if len(real) != len(fake):
            return f"{path}: {len(real)} against {len(fake)}"
        for number, (real_part, fake_part) in enumerate(zip(real, fake, strict=True)):
            if found := difference(real_part, fake_part, f"{path}[{number}]"):
                return found
        return None
    return None if real == fake else f"{path}: {real!r} against {fake!r}"


def shape(value: Any) -> Any:
    """Return the types of an answer by key; the objects of a list are merged into one."""
    if isinstance(value, dict):
        return {name: shape(part) for name, part in value.items()}
    if isinstance(value, list):
        merged: dict[str, Any] = {}
        if value and all(isinstance(part, dict) for part in value):
            for part in value:
                merged |= shape(part)
            return [merged]
        return ["?"] if not value else sorted({str(shape(part)) for part in value})
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return "number"
    return type(value).__name__


def shape_difference(real: Any, fake: Any, path: str = "") -> str | None:
    """Return the first place where two shapes differ; None if they agree.

    A key that only the fake has is a difference, except in the objects of a list.
    """
    if isinstance(real, dict) and isinstance(fake, dict):
        for name in sorted(set(real) & set(fake)):
            if name in ("traceId", "errors"):
                continue
            if found := shape_difference(real[name], fake[name], f"{path}.{name}"):
                return found
        unknown = set(fake) - set(real)
        return f"{path}: only the fake has {sorted(unknown)}" if unknown and "[]" not in path else None
    if isinstance(real, list) and isinstance(fake, list):
        if real and fake and isinstance(real[0], dict) and isinstance(fake[0], dict):
            return shape_difference(real[0], fake[0], f"{path}[]")
        return None
    return None if real == fake or "NoneType" in (real, fake) else f"{path}: {real} against {fake}"
