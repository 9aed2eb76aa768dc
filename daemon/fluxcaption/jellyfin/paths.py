"""From the server's path to ours."""

import re
from collections.abc import Sequence
from pathlib import Path

_WINDOWS = re.compile(r"[A-Za-z]:/|//")
"""A drive or a share: there, `D:\\Films` and `d:/films` are one folder."""


def local_path(server_path: str, pairs: Sequence[tuple[str, Path]]) -> Path | None:
    """Translate a path by the longest prefix that ends at a folder; both slash styles are one, and nothing leads out of the local folder."""
    path = server_path.replace("\\", "/")
    best: tuple[str, Path] | None = None
    for prefix, local in pairs:
        head = prefix.replace("\\", "/").rstrip("/") + "/"
        start = path[: len(head)]
        is_below = start == head or (_WINDOWS.match(head) is not None and start.lower() == head.lower())
        if is_below and (best is None or len(head) > len(best[0])):
            best = (head, local)
    if best is None:
        return None
    below = path[len(best[0]) :]
    return None if below.startswith("/") or ".." in below.split("/") else best[1] / below
