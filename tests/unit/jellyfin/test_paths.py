"""Mapping of server paths to local paths."""

from pathlib import Path

import pytest
from fluxcaption.jellyfin.paths import local_path

PAIRS = [
    ("/data", Path("/mnt/data")),
    ("/data/films/", Path("/films")),
    ("D:\\Media", Path("/mnt/d")),
    ("\\\\nas\\films", Path("/mnt/nas")),
    ("/", Path("/mnt/all")),
]


@pytest.mark.parametrize(
    ("server", "local"),
    [
        ("/data/x/Film.mkv", "/mnt/data/x/Film.mkv"),
        ("/data/films/Film.mkv", "/films/Film.mkv"),
        ("/database/Film.mkv", "/mnt/all/database/Film.mkv"),
        ("/DATA/Film.mkv", "/mnt/all/DATA/Film.mkv"),
        ("/data/x/..Film...mkv", "/mnt/data/x/..Film...mkv"),
        ("D:\\Media\\x\\Film.mkv", "/mnt/d/x/Film.mkv"),
        ("d:/media/x/Film.mkv", "/mnt/d/x/Film.mkv"),
        ("\\\\NAS\\Films\\Film.mkv", "/mnt/nas/Film.mkv"),
        ("//nas/films/Film.mkv", "/mnt/nas/Film.mkv"),
    ],
)
def test_the_longest_prefix_selects_the_local_folder(server: str, local: str) -> None:
    assert local_path(server, PAIRS) == Path(local)


@pytest.mark.parametrize(
    "server",
    [
        "/data//etc/passwd",
        "/data/../../etc/passwd",
        "/data/x/../../../etc/passwd",
        "d:\\media\\..\\x.mkv",
        "e:/media/x.mkv",
        "film.mkv",
    ],
)
def test_a_path_outside_the_map_is_not_mapped(server: str) -> None:
    assert local_path(server, PAIRS) is None
