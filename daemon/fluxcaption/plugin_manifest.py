"""Files of `plugin-manifest/`: what the Jellyfin server needs. The installed package contains a copy."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FOLDERS = (Path(__file__).parent / "jellyfin_side", Path(__file__).parents[2] / "plugin-manifest")
"""In the installed package, and in the source tree."""


@dataclass(frozen=True, slots=True)
class WebhookPlugin:
    """Jellyfin's own Webhook plugin.

    Attributes:
        versions: Oldest server version and plugin version, newest first.
        tasks: Keys of the scheduled tasks that send events.
        destination: The destination for the plugin's configuration, with placeholders for address and secret.
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
        """Return the GUID as 32 hex digits."""
        return self.guid.replace("-", "")

    def version_for(self, server_version: tuple[int, ...]) -> str | None:
        """Return the plugin version for a server version; None if the server is too old."""
        return next((plugin for oldest, plugin in self.versions if server_version >= oldest), None)


@cache
def webhook_plugin() -> WebhookPlugin:
    """Return the contents of `webhook.json`."""
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
    """Return the manifest of the plugin repository that the daemon serves."""
    return _read("manifest.json").encode()


def _read(name: str) -> str:
    folder = next(folder for folder in FOLDERS if folder.is_dir())
    return (folder / name).read_text(encoding="utf-8")
