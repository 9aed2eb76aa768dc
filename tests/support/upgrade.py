"""A state that the program wrote at schema 7, and the server that it was written beside.

`tests/data/state-schema-7.sql` was made by running that program against the fake server, `server-schema-7.json` holds the
films of the server at that moment: a killed process left one film half heard and others in every step of a delivery.
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
    """Return rows as schema 7 has them; the table's name may be followed by conditions."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.row_factory = sqlite3.Row
        connection.executescript((DATA / "state-schema-7.sql").read_text(encoding="utf-8"))
        return connection.execute(f"SELECT * FROM {table}").fetchall()


def server_7() -> dict[str, Any]:
    """Return the time of the kill, the key of the skips, and the films."""
    facts: dict[str, Any] = json.loads((DATA / "server-schema-7.json").read_text(encoding="utf-8"))
    return facts


def add_films_7(fake: FakeJellyfin, media: Path) -> dict[str, FakeItem]:
    """Add the films to a fake server, by name; those that were really heard have their clip."""
    items = {}
    for facts in server_7()["films"]:
        file = None
        if facts["file"]:
            file = media / facts["name"] / f"{facts['name']}.mkv"
            file.parent.mkdir(parents=True)
            shutil.copy(DEMO / facts["file"] / f"{facts['file']}.mkv", file)
            os.utime(file, (1_700_000_000, 1_700_000_000))
        source = Source(
            facts["id"],
            facts["path"],
            [VIDEO, *facts["streams"]],
            size=facts["size"],
            ticks=facts["ticks"],
            etag=facts["etag"],
            file=file,
            sidecars={name: text.encode() for name, text in facts["sidecars"].items()},
            unlisted=set(facts["unlisted"]),
        )
        for name, text in zip(facts["late"], facts["late_content"], strict=True):
            source.sidecars[name] = text.encode()
        item = FakeItem(
            facts["id"],
            fake.libraries[0].id,
            "Movie",
            facts["name"],
            [source],
            datetime.fromisoformat(facts["added"]),
            datetime.fromisoformat(facts["saved"]),
            facts["etag_salt"],
        )
        fake.add(item)
        items[item.name] = item
    return items
