"""From the server's path to ours."""

from collections.abc import Sequence
from pathlib import Path


def local_path(server_path: str, pairs: Sequence[tuple[str, Path]]) -> Path | None:
    """Translate a path by the longest prefix that ends at a folder; both slash styles are one."""
    path = server_path.replace("\\", "/")
    best: tuple[int, Path] | None = None
    for prefix, local in pairs:
        head = prefix.replace("\\", "/").rstrip("/") + "/"
        if path.startswith(head) and (best is None or len(head) > best[0]):
            best = (len(head), local / path[len(head) :])
    return best[1] if best else None
