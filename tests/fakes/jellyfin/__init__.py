"""A fake Jellyfin server."""

from tests.fakes.jellyfin.library import FakeItem, Source, audio, film, new_id, text
from tests.fakes.jellyfin.server import KEY, Exchange, FakeJellyfin, Fault, Library

__all__ = [
    "KEY",
    "Exchange",
    "FakeItem",
    "FakeJellyfin",
    "Fault",
    "Library",
    "Source",
    "audio",
    "film",
    "new_id",
    "text",
]
