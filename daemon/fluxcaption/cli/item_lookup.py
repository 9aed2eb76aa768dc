"""Finds the item that a user names by its id or by a part of its name."""

import re

from fluxcaption.cli.app_context import open_storage
from fluxcaption.domain.errors import UsageError
from fluxcaption.domain.units import ItemId
from fluxcaption.settings import Settings
from fluxcaption.storage.database import DATABASE

MAX_LISTED_ITEMS = 8
_ID = re.compile(r"[0-9a-fA-F-]{32,36}")


async def find_item_id(settings: Settings, text: str) -> ItemId:
    """Return the id of the one item that `text` names: an id, with or without dashes, or a part of a name.

    Raises:
        UsageError: The text is empty, or no item or more than one has the text in its name.
    """
    if not text.strip():
        raise UsageError("an empty name or id names no item: check the variable in the command")
    if _ID.fullmatch(text):
        return ItemId(text.replace("-", "").lower())
    if not (settings.state / DATABASE).is_file():
        raise UsageError(
            f"no item is named {text!r} before the first scan: run `fluxcaption scan`, or give the item's id"
        )
    async with open_storage(settings.state, read_only=True) as storage:
        matches = await storage.items.find(text)
    if len(matches) == 1:
        return matches[0][0]
    if not matches:
        raise UsageError(
            f"no item is named {text!r}: run `fluxcaption scan` if it is new, "
            "or give its id from the address of its page in Jellyfin"
        )
    listed = "; ".join(f"{name} ({item_id})" for item_id, name in matches[:MAX_LISTED_ITEMS])
    raise UsageError(
        f"{len(matches)} items have {text!r} in their name: give the id of one of them: {listed}"
    )
