"""A state at schema 7 as an earlier version wrote it, and the films of the server it worked with.

`tests/data/state-schema-7.sql` is the state after a run of that version against the fake server, and
`server-schema-7.json` the films of the server at that moment. The process was killed: one film is partly
transcribed, and other films are in each step of a delivery.
"""

import json
import os
import shutil
import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

from fluxcaption.domain.units import ServerId
from fluxcaption.storage.database import DATABASE

from tests.fakes.jellyfin import FakeItem, FakeJellyfin
from tests.fakes.jellyfin.library import SERVER_ID, VIDEO, Source
from tests.support.app import DEMO

DATA = Path(__file__).parents[1] / "data"
SERVER = ServerId(SERVER_ID)

Row7 = sqlite3.Row


def write_state_7(state: Path) -> None:
    """Write the database below a state directory."""
    state.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(state / DATABASE)) as connection:
        connection.executescript((DATA / "state-schema-7.sql").read_text(encoding="utf-8"))


def old_rows(table: str) -> list[Row7]:
    """Return rows of the state at schema 7; conditions may follow the name of the table."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.row_factory = sqlite3.Row
        connection.executescript((DATA / "state-schema-7.sql").read_text(encoding="utf-8"))
        return connection.execute(f"SELECT * FROM {table}").fetchall()


def server_7() -> dict[str, Any]:
    """Return the time at which the process was killed, the key of the skips, and the films."""
    facts: dict[str, Any] = json.loads((DATA / "server-schema-7.json").read_text(encoding="utf-8"))
    return facts


def add_films_7(fake: FakeJellyfin, media: Path) -> dict[str, FakeItem]:
    """Add the films to a fake server and return them by name; transcribed films have a real media file."""
    items = {}
    for facts in server_7()["films"]:
        item = FakeItem(
            facts["id"],
            fake.libraries[0].id,
            "Movie",
            facts["name"],
            [_source(facts, media)],
            datetime.fromisoformat(facts["added"]),
            datetime.fromisoformat(facts["saved"]),
            facts["etag_salt"],
        )
        fake.add(item)
        items[item.name] = item
    return items


def _source(facts: dict[str, Any], media: Path) -> Source:
    late_sidecars = zip(facts["late"], facts["late_content"], strict=True)
    return Source(
        facts["id"],
        facts["path"],
        [VIDEO, *facts["streams"]],
        size=facts["size"],
        ticks=facts["ticks"],
        etag=facts["etag"],
        file=_media_file(media / facts["name"], facts["name"], facts["file"]) if facts["file"] else None,
        sidecars={name: text.encode() for name, text in [*facts["sidecars"].items(), *late_sidecars]},
        unlisted=set(facts["unlisted"]),
    )


def _media_file(folder: Path, name: str, demo_title: str) -> Path:
    """Copy a demo clip, with the modification time that the state has."""
    file = folder / f"{name}.mkv"
    folder.mkdir(parents=True)
    shutil.copy(DEMO / demo_title / f"{demo_title}.mkv", file)
    os.utime(file, (1_700_000_000, 1_700_000_000))
    return file
