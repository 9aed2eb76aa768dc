"""Mounted cloud storage is recognized, also through links in a library."""

from pathlib import Path

import pytest
from fluxcaption.folder.atomic_write import write_sidecar
from fluxcaption.folder.tree import FolderTree
from fluxcaption.jellyfin.server import JellyfinServer
from fluxcaption.media.files import MediaFiles
from fluxcaption.mounts import Mounts
from fluxcaption.settings import JellyfinConfig

from tests.fakes.jellyfin import KEY, FakeJellyfin, audio, film
from tests.support.app import TEXT_FILM, clip

FILE_SYSTEMS = {
    "cloud": "fuse.rclone",
    "my films": "fuse.rclone",
    "nas": "nfs4",
    "share": "cifs",
    "cloud/inner": "ext4",
}


@pytest.fixture
def mounts(tmp_path: Path) -> Mounts:
    """Return a table of mounts below the test's folder."""
    lines = ["22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw"]
    for number, (name, kind) in enumerate(FILE_SYSTEMS.items(), 30):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        escaped = str(folder).replace(" ", "\\040")
        lines.append(f"{number} 22 0:{number} / {escaped} rw,relatime shared:{number} - {kind} remote: rw")
    table = tmp_path / "mountinfo"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Mounts(table)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("cloud/Film.mkv", True),
        ("cloud/deep/er/Film.mkv", True),
        ("my films/Film.mkv", True),
        ("nas/Film.mkv", False),
        ("share/Film.mkv", False),
        ("Film.mkv", False),
        ("cloud/inner/Film.mkv", False),
        ("nas/../cloud/Film.mkv", True),
        ("nas/../Film.mkv", False),
    ],
)
def test_a_path_belongs_to_its_innermost_mount(
    path: str, expected: bool, mounts: Mounts, tmp_path: Path
) -> None:
    assert mounts.is_cloud(tmp_path / path) is expected


def test_symbolic_links_are_followed(mounts: Mounts, tmp_path: Path) -> None:
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "Film.mkv").symlink_to(tmp_path / "cloud" / "a1b2.mkv")
    (tmp_path / "library" / "season").symlink_to(tmp_path / "cloud")
    (tmp_path / "cloud" / "home").symlink_to(tmp_path / "nas")
    assert mounts.is_cloud(tmp_path / "library" / "Film.mkv")
    assert mounts.is_cloud(tmp_path / "library" / "season" / "Episode.mkv")
    assert not mounts.is_cloud(tmp_path / "cloud" / "home" / "Film.mkv")


def test_a_system_without_a_mount_table_has_no_cloud(tmp_path: Path) -> None:
    assert not Mounts(tmp_path / "nowhere").is_cloud(tmp_path)


async def test_a_mapped_link_into_the_cloud_is_a_remote_source(mounts: Mounts, tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        made = [film(name, [audio()], library=fake.libraries[0].id) for name in ("Linked", "Plain")]
        fake.add(*made)
        for name in ("Linked", "Plain"):
            (tmp_path / "local" / name).mkdir(parents=True)
        (tmp_path / "local" / "Linked" / "Linked.mkv").symlink_to(tmp_path / "cloud" / "a1b2.mkv")
        path_map = [{"server": "/media/movies", "local": tmp_path / "local"}]
        config = JellyfinConfig.model_validate({"url": fake.url, "api_key": KEY, "path_map": path_map})
        server = JellyfinServer(config, "1", write_sidecar, mounts=mounts)
        (library, *_) = await server.libraries()
        read = {item.name: item async for page in server.items(library) for item in page}
        assert {name: item.sources[0].is_remote for name, item in read.items()} == {
            "Linked": True,
            "Plain": False,
        }
        assert (await server.fetch_item(read["Linked"].id)).sources[0].is_remote
        assert [item.sources[0].is_remote for item in await server.fetch_items([read["Linked"].id])] == [True]
        await server.close()


async def test_a_link_into_the_cloud_in_a_folder_library_is_a_remote_source(
    mounts: Mounts, tmp_path: Path
) -> None:
    media = clip(tmp_path / "library", TEXT_FILM)
    (tmp_path / "cloud" / "a1b2.mkv").write_bytes(media.read_bytes())
    (tmp_path / "library" / "Linked.mkv").symlink_to(tmp_path / "cloud" / "a1b2.mkv")
    tree = FolderTree(tmp_path / "library", MediaFiles(), mounts)
    (library,) = await tree.libraries()
    read = {item.name: item.sources[0].is_remote async for page in tree.items(library) for item in page}
    assert read == {TEXT_FILM: False, "Linked": True}
    await tree.close()
