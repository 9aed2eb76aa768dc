"""The types of the route table."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Flag, StrEnum, auto

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

MAX_BODY_BYTES = 64 * 1024


class Scope(StrEnum):
    """Permission that a caller of a route needs."""

    NONE = "none"
    WEBHOOK = "webhook"
    READ = "read"
    SUBMIT = "submit"
    ADMIN = "admin"


class Where(Flag):
    """Listeners that serve a route."""

    PORT = auto()
    SOCKET = auto()
    BOTH = PORT | SOCKET


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the route table.

    Attributes:
        path: Path pattern in aiohttp's form.
        max_bytes: Size limit of the request body.
    """

    method: str
    path: str
    handler: Handler
    where: Where
    scope: Scope
    max_bytes: int = MAX_BODY_BYTES
