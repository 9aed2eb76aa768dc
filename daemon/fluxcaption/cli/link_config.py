"""Configuration of `link`: existing settings, proposed settings, and the files that are written."""

import json
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from fluxcaption.config.example import commented_config
from fluxcaption.config.load import load_settings
from fluxcaption.domain.errors import ConfigError, UsageError
from fluxcaption.domain.language import LanguageTag, normalize
from fluxcaption.jellyfin.admin import User
from fluxcaption.settings import JellyfinConfig, Settings

KEY_FILE, SECRET_FILE = "jellyfin_api_key", "webhook_secret"
DEFAULT_LISTEN = "0.0.0.0:8765"
FALLBACK_TARGET = LanguageTag("en")


@dataclass(frozen=True, slots=True)
class LinkOptions:
    """Options of the command that concern the configuration.

    Attributes:
        url: Address of the server, without a trailing slash.
        config: Configuration file, which may not exist yet.
        public_url: Address under which the server can call the daemon; None if not given.
        listen: Address and port of the daemon; None if not given.
        ca_file: Absolute path of the server's certificate authority; None if not given.
    """

    url: str
    config: Path
    public_url: str | None
    listen: str | None
    ca_file: Path | None


class LinkConfig:
    """The settings that `link` uses: given options first, then the existing configuration, then defaults.

    Attributes:
        options: The options of the command.
        api_key: The key that was found or created; empty before that.
        key_setting: The setting under which a new configuration refers to the key.
    """

    def __init__(self, options: LinkOptions) -> None:
        self.options = options
        self.api_key = ""
        self.key_setting: Mapping[str, str] = {"api_key_file": KEY_FILE}

    @property
    def key_file(self) -> Path:
        """Return the file for a new API key, beside the configuration."""
        return self.options.config.parent / KEY_FILE

    @property
    def secret_file(self) -> Path:
        """Return the file for a new webhook secret, beside the configuration."""
        return self.options.config.parent / SECRET_FILE

    def existing(self) -> Settings | None:
        """Return the settings of the existing configuration; None if there is no file.

        Raises:
            ConfigError: The file exists and is invalid.
        """
        if not self.options.config.is_file():
            return None
        # The variable may be set in the daemon's environment only, so a found key stands in for it.
        return load_settings(self.options.config, {"JELLYFIN_API_KEY": self.api_key, **os.environ})

    def existing_server(self) -> JellyfinConfig | None:
        """Return the configured server; None if the configuration is invalid or names another server."""
        try:
            settings = self.existing()
        except ConfigError:
            return None
        if settings is None or not isinstance(settings.server, JellyfinConfig):
            return None
        return settings.server if settings.server.url.rstrip("/") == self.options.url else None

    def existing_key(self) -> str:
        """Return the configured key, or the key in the key file; empty if there is none."""
        server = self.existing_server()
        if server is not None and server.api_key is not None and server.api_key.get_secret_value():
            return server.api_key.get_secret_value()
        return read_secret(self.key_file)

    def connection(self, key: str) -> JellyfinConfig:
        """Return the connection settings of the server, with this key."""
        changes: dict[str, object] = {"api_key": SecretStr(key)}
        if self.options.ca_file:
            changes["ca_file"] = self.options.ca_file
        return (self.existing_server() or JellyfinConfig(url=self.options.url)).model_copy(update=changes)

    @property
    def listen(self) -> str:
        """Return the address and port on which the daemon listens."""
        settings = self.existing()
        is_stated = settings is not None and "listen" in settings.web.model_fields_set
        stated = settings.web.listen if settings is not None and is_stated else None
        return self.options.listen or stated or os.environ.get("FLUXCAPTION_LISTEN") or DEFAULT_LISTEN

    @property
    def public_url(self) -> str:
        """Return the address under which the server calls the daemon, without a trailing slash."""
        settings = self.existing()
        stated = settings.web.public_url if settings is not None else ""
        default = f"http://{socket.gethostname()}:{self.listen.rsplit(':', 1)[-1]}"
        return (self.options.public_url or stated or default).rstrip("/")

    @property
    def webhook_secret(self) -> str:
        """Return the secret of the webhook; empty if there is none yet."""
        settings = self.existing()
        if settings is not None and settings.web.webhook_secret is not None:
            return settings.web.webhook_secret.get_secret_value()
        return read_secret(self.secret_file)

    def new_config_text(self, targets: Sequence[LanguageTag]) -> str:
        """Return the text of a new, commented configuration."""
        server = {"type": "jellyfin", "url": self.options.url, **self.key_setting}
        if self.options.ca_file:
            server["ca_file"] = str(self.options.ca_file)
        web = {"listen": self.listen, "public_url": self.public_url}
        if self.webhook_secret:
            web["webhook_secret_file"] = SECRET_FILE
        languages = {"targets": tuple(str(target) for target in targets)}
        return commented_config({"server": server, "languages": languages, "web": web})

    def missing_lines(self, settings: Settings) -> list[str]:
        """Return the YAML lines that the existing configuration needs; empty if it is complete."""
        lines = []
        for name, section in (("server", self._server_changes()), ("web", self._web_changes(settings))):
            if section:
                lines += [f"{name}:", *(f"  {key}: {json.dumps(value)}" for key, value in section.items())]
        return lines

    def _server_changes(self) -> dict[str, str]:
        changes: dict[str, str] = {}
        server = self.existing_server()
        if server is None:
            changes |= {"type": "jellyfin", "url": self.options.url}
        if server is None or server.api_key is None or server.api_key.get_secret_value() != self.api_key:
            changes |= self.key_setting
        ca_file = self.options.ca_file
        if ca_file is not None and (server is None or server.ca_file != ca_file):
            changes["ca_file"] = str(ca_file)
        return changes

    def _web_changes(self, settings: Settings) -> dict[str, str]:
        changes: dict[str, str] = {}
        if settings.web.listen != self.listen:
            changes["listen"] = self.listen
        if settings.web.public_url.rstrip("/") != self.public_url:
            changes["public_url"] = self.public_url
        if settings.web.webhook_secret is None and self.webhook_secret:
            changes["webhook_secret_file"] = SECRET_FILE
        return changes


def propose_targets(users: Sequence[User]) -> list[LanguageTag]:
    """Return the languages that the users prefer, most frequent first; English if there are none."""
    counts: dict[LanguageTag, int] = {}
    for user in users:
        for language in user.languages:
            if (tag := normalize(language)) is not None:
                counts[tag] = counts.get(tag, 0) + 1
    return sorted(counts, key=lambda tag: (-counts[tag], str(tag))) or [FALLBACK_TARGET]


def read_secret(file: Path) -> str:
    """Return the content of a file without surrounding whitespace; empty if the file does not exist."""
    return file.read_text(encoding="utf-8").strip() if file.is_file() else ""


def write_new_file(file: Path, text: str, mode: int) -> None:
    """Write a file with these permissions; replace an existing one.

    Raises:
        UsageError: The folder cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # Opening a new file applies the mode, so a secret is never readable for others.
        file.unlink(missing_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except OSError as error:
        raise UsageError(
            f"{file} cannot be written ({error.strerror}). "
            "Name a configuration file in a folder of your own with --config."
        ) from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(text)
