"""A household for behaviour tests: settings on a temporary state, real clips, the miniature models."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from fluxcaption.settings import Settings
from fluxcaption.storage.storage import SqliteStorage

from tests.fakes.jellyfin import KEY, FakeJellyfin

DEMO = Path(__file__).parents[2] / "config" / "demo" / "library"
HEARD = "A Day in the Garden (2026)"
READ = "The Blue House (2026)"


def clip(folder: Path, title: str, name: str | None = None) -> Path:
    """A copy of a demo clip in a folder of its own."""
    name = name or title
    target = folder / name / f"{name}.mkv"
    target.parent.mkdir(parents=True)
    shutil.copy(DEMO / title / f"{title}.mkv", target)
    return target


def settings(state: Path, server: dict[str, Any], targets: list[str], **more: Any) -> Settings:
    """Settings with the miniature models and everything at once."""
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
            **more,
        }
    )


def jellyfin(fake: FakeJellyfin) -> dict[str, Any]:
    return {"type": "jellyfin", "url": fake.url, "api_key": KEY}


async def windows_transcribed(state: Path) -> int:
    """How many windows are saved, over all transcripts."""
    storage = await SqliteStorage.open(state, read_only=True)
    try:
        return int((await storage.database.read("SELECT count(*) AS n FROM windows"))[0]["n"])
    finally:
        await storage.close()


def heard_ms(state: Path) -> tuple[int, int]:
    """Sound that was heard, and sound that is saved; their difference was heard for nothing."""
    with closing(sqlite3.connect(f"file:{state / 'fluxcaption.sqlite3'}?mode=ro", uri=True)) as database:
        heard = database.execute("SELECT media_ms FROM speeds WHERE activity='listen'").fetchone()
        saved = database.execute("SELECT coalesce(sum(end_ms-start_ms),0) FROM windows").fetchone()
    return (heard[0] if heard else 0), saved[0]
