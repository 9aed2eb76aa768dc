"""What the Jellyfin side needs, as `plugin-manifest/` of the repository holds it; the installed package carries a copy."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

PLACES = (Path(__file__).parent / "jellyfin_side", Path(__file__).parents[2] / "plugin-manifest")


@dataclass(frozen=True, slots=True)
class WebhookPlugin:
    """Jellyfin's own Webhook plugin.

    Attributes:
        versions: Least server version and plugin version, newest first.
        tasks: Keys of the scheduled tasks that send its news.
        destination: What is added to its configuration; address and secret are put in.
    """

    name: str
    guid: str
    repository_name: str
    repository_url: str
    versions: tuple[tuple[tuple[int, ...], str], ...]
    tasks: tuple[str, ...]
    destination: dict[str, Any]

    @property
    def id(self) -> str:
        """The GUID as 32 hex digits."""
        return self.guid.replace("-", "")

    def version_for(self, server: tuple[int, ...]) -> str | None:
        """The version that fits a server; None for one that is too old."""
        return next((plugin for least, plugin in self.versions if server >= least), None)


@cache
def webhook_plugin() -> WebhookPlugin:
    """Read `webhook.json`."""
    value = json.loads(_read("webhook.json"))
    return WebhookPlugin(
        name=value["name"],
        guid=value["guid"],
        repository_name=value["repository"]["name"],
        repository_url=value["repository"]["url"],
        versions=tuple(
            (tuple(int(part) for part in row["server"].split(".")), row["plugin"])
            for row in value["versions"]
        ),
        tasks=tuple(value["tasks"]),
        destination=value["destination"],
    )


def repository_manifest() -> bytes:
    """What the daemon serves as plugin repository."""
    return _read("manifest.json").encode()


def _read(name: str) -> str:
    folder = next(place for place in PLACES if place.is_dir())
    return (folder / name).read_text(encoding="utf-8")
