"""Settings of the library: a Jellyfin server, or a folder."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, model_validator

from fluxcaption.settings.field_types import HTTP_URL_PATTERN, Section


class PathMapping(Section):
    """One folder with its two paths."""

    server: str = Field(description="Path of the folder on the server.")
    local: Path = Field(description="Path of the same folder on this machine.")


class JellyfinConfig(Section):
    """A Jellyfin server."""

    type: Literal["jellyfin"] = "jellyfin"
    url: str = Field(
        pattern=HTTP_URL_PATTERN, description="Address with the base path, as in a browser on this machine."
    )
    api_key: SecretStr | None = Field(
        None,
        description=(
            "API key from the dashboard; or api_key_file, or a systemd credential named jellyfin_api_key."
        ),
    )
    api_key_file: Path | None = Field(None, description="A file that contains only the key.")
    tls_verify: bool = Field(True, description="Verify the server's certificate.")
    ca_file: Path | None = Field(
        None, description="Certificate authority (PEM) of a server with a self-signed certificate."
    )
    path_map: tuple[PathMapping, ...] = Field(
        (), description="The server's folders on this machine; empty: audio is streamed from the server."
    )
    write: Literal["auto", "upload", "sidecar"] = Field(
        "auto", description="auto: upload, or write a sidecar file if an upload cannot work."
    )

    @model_validator(mode="after")
    def _reject_sidecar_without_path_map(self) -> "JellyfinConfig":
        if self.write == "sidecar" and not self.path_map:
            raise ValueError(
                "write: sidecar needs path_map: name the server's folders and their paths on this machine"
            )
        return self


class FolderConfig(Section):
    """A folder with media files and sidecar files, without a server."""

    type: Literal["folder"]
    path: Path = Field(description="The folder with the films and episodes.")
