"""Settings, demo clips and the miniature models for tests of the whole program."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from fluxcaption.settings import Settings
from fluxcaption.storage.storage import SqliteStorage

from tests.fakes.jellyfin import KEY, FakeJellyfin

CERTIFICATE = Path(__file__).parents[1] / "data" / "self-signed.pem"
"""A self-signed certificate for 127.0.0.1 with its private key."""

DEMO = Path(__file__).parents[2] / "config" / "demo" / "library"

SPEECH_FILM = "A Day in the Garden (2026)"
"""Demo film without a text track, 70 s long: its English sound is transcribed."""

TEXT_FILM = "The Blue House (2026)"
"""Demo film with an embedded English text track, 61 s long: the text is translated."""


def clip(folder: Path, title: str, name: str | None = None) -> Path:
    """Copy a demo clip into its own folder below `folder` and return the copy."""
    name = name or title
    target = folder / name / f"{name}.mkv"
    target.parent.mkdir(parents=True)
    shutil.copy(DEMO / title / f"{title}.mkv", target)
    return target


def settings(state: Path, server: dict[str, Any], targets: list[str], **overrides: Any) -> Settings:
    """Return settings with the miniature models and a backlog that starts at once."""
    return Settings.model_validate(
        {
            "server": server,
            "languages": {"targets": targets, "when_spoken": "make"},
            "backlog": {"mode": "all"},
            "asr": {"backends": [{"type": "local", "model": "miniature"}]},
            "translation": {"backends": [{"type": "local", "model": "miniature"}], "patience": "0s"},
            "limits": {"disk_free": 0, "nice": 0},
            "web": {"listen": "127.0.0.1:0", "webhook_secret": "a-secret"},
            "state": str(state),
            **overrides,
        }
    )


def jellyfin(fake: FakeJellyfin) -> dict[str, Any]:
    """Return the `server` section of the configuration for a fake server."""
    return {"type": "jellyfin", "url": fake.url, "api_key": KEY}


async def windows_transcribed(state: Path) -> int:
    """Return the number of stored windows of all transcripts."""
    storage = await SqliteStorage.open(state, read_only=True)
    try:
        return int((await storage.database.read("SELECT count(*) AS n FROM windows"))[0]["n"])
    finally:
        await storage.close()


class SoundAmounts(NamedTuple):
    """Amounts of media time, in ms; their difference was transcribed for nothing."""

    transcribed_ms: int
    stored_ms: int


def total_transcribed_ms(state: Path) -> SoundAmounts:
    """Return how much sound was transcribed, and how much of it is stored."""
    with closing(sqlite3.connect(f"file:{state / 'fluxcaption.sqlite3'}?mode=ro", uri=True)) as database:
        transcribed = database.execute("SELECT media_ms FROM speeds WHERE activity='listen'").fetchone()
        stored = database.execute("SELECT coalesce(sum(end_ms-start_ms),0) FROM windows").fetchone()
    return SoundAmounts(transcribed[0] if transcribed else 0, stored[0])
