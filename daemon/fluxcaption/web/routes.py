"""The one route table: what is served, where, to whom, and what it answers."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Flag, StrEnum, auto

from aiohttp import web
from pydantic import BaseModel

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Scope(StrEnum):
    """What a caller must be allowed to do."""

    NONE = "none"
    WEBHOOK = "webhook"
    READ = "read"
    SUBMIT = "submit"
    ADMIN = "admin"


class Where(Flag):
    """Which listeners serve a route."""

    PORT = auto()
    SOCKET = auto()


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the table.

    Attributes:
        accepts: Model of the JSON body, if there is one.
        answers: Model of the JSON answer, if it is JSON.
        errors: Stable codes of the problems it can answer with.
        max_bytes: The largest body read.
    """

    method: str
    path: str
    handler: Handler
    where: Where
    scope: Scope
    summary: str
    accepts: type[BaseModel] | None = None
    answers: type[BaseModel] | None = None
    errors: tuple[str, ...] = ()
    max_bytes: int = 64 * 1024
