"""Secrets of the configuration: environment variables, files and systemd credentials."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from fluxcaption.config.yaml_source import KeyPath, YamlSource
from fluxcaption.settings import JellyfinConfig, Settings

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def secret_values(settings: Settings) -> Sequence[str]:
    """Return every secret of the configuration, for the redaction of the log."""
    secrets = [settings.web.webhook_secret]
    if isinstance(settings.server, JellyfinConfig):
        secrets.append(settings.server.api_key)
    return [secret.get_secret_value() for secret in secrets if secret is not None]


@dataclass(frozen=True, slots=True)
class SecretReader:
    """Reader of the secrets of one configuration file.

    Attributes:
        folder: Folder of the configuration file; paths of secret files are relative to it.
    """

    source: YamlSource
    folder: Path
    environment: Mapping[str, str]

    def substitute_variables(self, path: KeyPath, text: str) -> str:
        """Replace each `${NAME}` by the environment variable; a missing one is a problem at the key."""

        def variable(match: re.Match[str]) -> str:
            value = self.environment.get(match[1])
            if value is None:
                self.source.add_problem(
                    path, f"the environment variable {match[1]} is not set: set it, or write the value"
                )
                return ""
            return value

        return _VARIABLE.sub(variable, text)

    def fill_in(self, values: dict[str, Any]) -> None:
        """Put the API key and the webhook secret into the values of the file."""
        server = values.get("server")
        if isinstance(server, dict) and server.get("type", "jellyfin") == "jellyfin":
            server.setdefault("type", "jellyfin")
            if not self._fill_in_secret(server, ("server", "api_key"), "jellyfin_api_key"):
                self.source.add_problem(
                    ("server",),
                    "needs api_key, api_key_file or a systemd credential named jellyfin_api_key: "
                    "create a key in Jellyfin's dashboard under API Keys",
                )
        web = values.setdefault("web", {})
        if isinstance(web, dict):
            self._fill_in_secret(web, ("web", "webhook_secret"), "webhook_secret")

    def _fill_in_secret(self, section: dict[str, Any], path: tuple[str, str], credential: str) -> bool:
        """Put a secret into its section from its one source. Return False if it has none."""
        key, file_key = path[1], f"{path[1]}_file"
        credential_file = self._credential_file(credential)
        sources = [name for name in (key, file_key) if name in section]
        if credential_file is not None:
            sources.append(f"systemd credential {credential}")
        if len(sources) > 1:
            self.source.add_problem(path, f"is given as {' and as '.join(sources)}: remove one")
        if key in section:
            section[key] = str(section[key])
            if not section[key].strip():
                self.source.add_problem(path, "is empty: write the secret, or remove the line")
            return True
        file = self.folder / str(section[file_key]) if file_key in section else credential_file
        if file is None:
            return False
        if (secret := self._read_secret(file, (path[0], file_key))) is not None:
            section[key] = SecretStr(secret)
        return True

    def _credential_file(self, credential: str) -> Path | None:
        folder = self.environment.get("CREDENTIALS_DIRECTORY")
        file = Path(folder, credential) if folder else None
        return file if file is not None and file.is_file() else None

    def _read_secret(self, file: Path, path: KeyPath) -> str | None:
        """Return the content of a secret file; a file that cannot be used is a problem at the key."""
        try:
            secret = file.read_text(encoding="utf-8").strip()
        except OSError as error:
            self.source.add_problem(
                path, f"{file} cannot be read ({error.strerror}): correct the path or its permissions"
            )
            return None
        except UnicodeDecodeError:
            self.source.add_problem(path, f"{file} is not UTF-8 text: write the secret into it as text")
            return None
        if not secret:
            self.source.add_problem(path, f"{file} is empty: write the secret into it")
        return secret
