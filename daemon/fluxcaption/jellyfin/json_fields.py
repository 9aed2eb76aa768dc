"""Readers of JSON values whose type the server does not guarantee.

The lenient readers replace a value of the wrong type; the strict readers raise `UnreadableField`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

Json = Mapping[str, Any]
"""A JSON object."""

_ID = re.compile(r"[0-9a-f]{32}")


class UnreadableField(ValueError):
    """A field has another type than the server documents."""


def is_id(text: str) -> bool:
    """Return True if a text is an id in the server's spelling.

    The server ignores a filter whose value is not an id, so any other text must not be sent as one.
    """
    return bool(_ID.fullmatch(text))


def as_text(value: object) -> str:
    """Return a text as it is, and an empty text for any other type."""
    return value if isinstance(value, str) else ""


def as_int(value: object) -> int | None:
    """Return a whole number as it is, and None for any other type."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def as_object(value: object) -> Json:
    """Return an object as it is, and an empty object for any other type."""
    return value if isinstance(value, Mapping) else {}


def as_objects(value: object) -> Sequence[Json]:
    """Return the objects of a list; skip elements of other types."""
    return [row for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []


def as_texts(value: object) -> Sequence[str]:
    """Return the texts of a list; skip elements of other types."""
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []


def query_rows(value: object) -> Sequence[Json]:
    """Return the rows of a query result (the objects below `Items`)."""
    return as_objects(as_object(value).get("Items"))


def item_rows(value: object) -> Sequence[Json]:
    """Return the rows of a query result that carry a valid item id."""
    return [row for row in query_rows(value) if is_id(str(row.get("Id", "")))]


def strict_objects(parent: Json, name: str) -> Sequence[Json]:
    """Return a list of objects below `parent`; empty if the field is missing.

    Raises:
        UnreadableField: The field is not a list, or one element is not an object. No element is skipped,
            because tracks are identified by their position.
    """
    rows = parent.get(name)
    if rows is None:
        return ()
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise UnreadableField(f"{name} is not a list of objects")
    return rows


def strict_count(parent: Json, name: str) -> int:
    """Return a whole number below `parent`; 0 if the field is missing.

    Raises:
        UnreadableField: The field is not a whole number.
    """
    value = parent.get(name)
    if value is None:
        return 0
    count = as_int(value)
    if count is None:
        raise UnreadableField(f"{name} is not a whole number")
    return count
