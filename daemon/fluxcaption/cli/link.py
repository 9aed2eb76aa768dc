"""`link`: connects a Jellyfin server, step by step; each step says what it will do, asks, and can be run again."""

import json
import os
import re
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import click
from pydantic import SecretStr

from fluxcaption.app import VERSION
from fluxcaption.cli.common import config_option, run_async
from fluxcaption.cli.doctor import watch_through_daemon
from fluxcaption.cli.scan import report_as_text, scan_without_daemon
from fluxcaption.config.example import commented_config
from fluxcaption.config.load import find_config, load_settings
from fluxcaption.domain.errors import ConfigError, JobError, KeyRejected, UsageError
from fluxcaption.domain.language import LanguageTag, normalize
from fluxcaption.jellyfin.admin import InstalledPlugin, JellyfinAdmin, Viewer, upsert_destination
from fluxcaption.jellyfin.checks import AMPLE_S, prove
from fluxcaption.jellyfin.client import JellyfinClient
from fluxcaption.jellyfin.parse import read_version
from fluxcaption.plugin_manifest import webhook_plugin
from fluxcaption.settings import JellyfinConfig, OllamaTranslation, Settings
from fluxcaption.web.views import ScanAnswer
from fluxcaption.web.webhook_probe import WebhookProbeListener, wait_for

KEY_FILE, SECRET_FILE = "jellyfin_api_key", "webhook_secret"
ACQUIRE = "0.0.0.0:8765"


class Linking:
    """One run of `link`: what was asked for, and what the configuration says already."""

    def __init__(
        self,
        url: str,
        config: Path,
        *,
        public_url: str | None,
        listen: str | None,
        ca_file: Path | None,
        given_key: dict[str, str],
        yes: bool,
        restart: bool,
    ) -> None:
        self.url = url.rstrip("/")
        self.config = config
        self.ca_file = ca_file
        self.yes = yes
        self.restart = restart
        self.given_key = given_key
        """How the configuration would name the key that was given."""
        self.key = ""
        self.key_setting = {"api_key_file": KEY_FILE}
        self.version = (0, 0, 0)
        self._public_url = public_url
        self._listen = listen

    def ask(self, what: str) -> bool:
        """Say what would be done, and ask."""
        if self.yes:
            click.echo(f"- {what}")
            return True
        return click.confirm(f"- {what}?", default=True)

    def known(self) -> Settings | None:
        """The configuration that is there already.

        Raises:
            ConfigError: It is there and cannot be used.
        """
        # The key may be known to the daemon's environment alone.
        return (
            load_settings(self.config, {"JELLYFIN_API_KEY": self.key, **os.environ})
            if self.config.is_file()
            else None
        )

    def known_server(self) -> JellyfinConfig | None:
        """What the configuration says of this server; None where it speaks of another, or lacks what is about to be made."""
        try:
            known = self.known()
        except ConfigError:
            return None
        is_this = (
            known is not None
            and isinstance(known.server, JellyfinConfig)
            and known.server.url.rstrip("/") == self.url
        )
        return (
            known.server
            if known is not None and isinstance(known.server, JellyfinConfig) and is_this
            else None
        )

    def known_key(self) -> str:
        """The key in use already; empty where there is none."""
        server = self.known_server()
        if server is not None and server.api_key is not None and (key := server.api_key.get_secret_value()):
            return key
        return _content(self.config.parent / KEY_FILE)

    def server(self, key: str) -> JellyfinConfig:
        """How to reach the server."""
        more = {"api_key": SecretStr(key)} | ({"ca_file": self.ca_file} if self.ca_file else {})
        return (self.known_server() or JellyfinConfig(url=self.url)).model_copy(update=more)

    @property
    def listen(self) -> str:
        """Where the daemon listens, or will."""
        known = self.known()
        stated = known.web.listen if known is not None and "listen" in known.web.model_fields_set else None
        return self._listen or stated or os.environ.get("FLUXCAPTION_LISTEN") or ACQUIRE

    @property
    def public_url(self) -> str:
        """Under which address the server calls the daemon."""
        known = self.known()
        stated = known.web.public_url if known is not None else ""
        return (
            self._public_url or stated or f"http://{socket.gethostname()}:{self.listen.rsplit(':', 1)[-1]}"
        ).rstrip("/")

    @property
    def secret(self) -> str:
        """The webhook's secret; empty where there is none yet."""
        known = self.known()
        if known is not None and known.web.webhook_secret is not None:
            return known.web.webhook_secret.get_secret_value()
        return _content(self.config.parent / SECRET_FILE)

    @asynccontextmanager
    async def admin(self, key: str) -> AsyncIterator[JellyfinAdmin]:
        """The server's rooms, with a key."""
        client = JellyfinClient(self.server(key), VERSION)
        try:
            yield JellyfinAdmin(client)
        finally:
            await client.close()


def _content(file: Path) -> str:
    return file.read_text(encoding="utf-8").strip() if file.is_file() else ""


def write_file(file: Path, text: str, mode: int) -> None:
    """Write a file anew.

    Raises:
        UsageError: It cannot be written there.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except OSError as error:
        raise UsageError(
            f"{file} cannot be written ({error.strerror}): name a configuration in a folder of your own with --config"
        ) from error
    with os.fdopen(handle, "w", encoding="utf-8") as opened:
        opened.write(text)


def _address(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value and not re.fullmatch(r"https?://[^/\s]+\S*", value):
        raise click.BadParameter(f"{value!r}: write it with http:// or https://, as in http://jellyfin:8096")
    return value


def _port(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value and not re.fullmatch(r".+:\d{1,5}", value):
        raise click.BadParameter(f"{value!r}: write address and port, as in {ACQUIRE}")
    return value


@click.command("link")
@click.argument("url", callback=_address)
@config_option
@click.option("--user", help="An administrator's name, to make a key with; else a key is asked for.")
@click.option(
    "--password-file",
    type=click.Path(path_type=Path, exists=True),
    help="File with that account's password; else it is asked for.",
)
@click.option(
    "--api-key-file",
    type=click.Path(path_type=Path, exists=True),
    help="File with an API key that is there already.",
)
@click.option(
    "--ca-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Certificate authority of a self-signed server.",
)
@click.option(
    "--public-url",
    callback=_address,
    help="The address under which Jellyfin can call this daemon; else the configured, or this machine's name.",
)
@click.option(
    "--listen", callback=_port, help=f"Where the daemon listens, or will; else as configured, or {ACQUIRE}."
)
@click.option("--yes", is_flag=True, help="Do every step without asking.")
@click.option("--restart", is_flag=True, help="Restart the server even while somebody watches.")
def link(
    url: str,
    config: Path | None,
    user: str | None,
    password_file: Path | None,
    api_key_file: Path | None,
    ca_file: Path | None,
    public_url: str | None,
    listen: str | None,
    yes: bool,
    restart: bool,
) -> int:
    """Connect the Jellyfin server at URL: key, webhook plugin, webhook destination, proof of the round trip, config."""
    given_key = (
        {"api_key_file": str(api_key_file.absolute())} if api_key_file else {"api_key": "${JELLYFIN_API_KEY}"}
    )
    linking = Linking(
        url,
        find_config(config, os.environ),
        public_url=public_url,
        listen=listen,
        ca_file=ca_file.absolute() if ca_file else None,
        given_key=given_key,
        yes=yes,
        restart=restart,
    )
    given = _content(api_key_file) if api_key_file else os.environ.get("JELLYFIN_API_KEY", "")

    def password() -> str:
        return (
            _content(password_file)
            if password_file
            else str(click.prompt(f"Password of {user}", hide_input=True))
        )

    return run_async(_link(linking, user, password, given))


async def _link(linking: Linking, user: str | None, password: Callable[[], str], given: str) -> int:
    linking.key = await _find_key(linking, user, password, given)
    # From here on a configuration that is there must be usable: what it says of the webhook is kept.
    linking.known()
    async with linking.admin(linking.key) as admin:
        is_active = await _install(linking, admin)
        seen: bool | None = None
        if is_active and await _add_destination(linking, admin):
            seen = await _prove(linking, admin)
            if linking.ask("have the plugin send its news now, and arm the timers of its tasks"):
                await admin.trigger_webhook_tasks(webhook_plugin())
        viewers = await admin.viewers()
        await _tell_viewers(linking, admin, viewers)
    _write_config(linking, _proposed(viewers))
    if linking.known_server() is not None and linking.ask(
        "look at the whole library, changing nothing, and say what it would cost"
    ):
        await _forecast(linking)
    return 0 if is_active and seen else 1


async def _find_key(linking: Linking, user: str | None, password: Callable[[], str], given: str) -> str:
    """Reach the server; use the key that is there, or get one that carries our name."""
    async with linking.admin("") as admin:
        identity = await admin.public_info()
        linking.version = read_version(identity.version)
        click.echo(f"{identity.name}, Jellyfin {identity.version}")
    if known := linking.known_key():
        try:
            async with linking.admin(known) as admin:
                await admin.check_key(known)
        except KeyRejected:
            click.echo("  the key in use is not accepted any more")
        else:
            click.echo("  the key in use is accepted")
            return known
    if not user and not given:
        raise UsageError(
            "link needs an administrator: give --user NAME, or --api-key-file FILE with a key from Dashboard > API Keys"
        )
    token = given
    if user:
        async with linking.admin("") as admin:
            token = await admin.log_in(user, password())
    async with linking.admin(token) as admin:
        try:
            return await _make_key(linking, admin, token, is_login=bool(user))
        finally:
            if user:
                # It ages out by itself where this does not work.
                with suppress(JobError):
                    await admin.log_out(token)


async def _make_key(linking: Linking, admin: JellyfinAdmin, token: str, *, is_login: bool) -> str:
    await admin.check_key(token)
    file = linking.config.parent / KEY_FILE
    if not linking.ask(f"make an API key named FluxCaption and keep it in {file} (readable by you alone)"):
        if is_login:
            raise UsageError(
                "without an API key FluxCaption cannot be linked: run link again, or give --api-key-file"
            )
        linking.key_setting = linking.given_key
        return token
    key = await admin.ensure_api_key()
    write_file(file, key + "\n", 0o600)
    return key


async def _install(linking: Linking, admin: JellyfinAdmin) -> bool:
    """Have the Webhook plugin active, at the version that fits the server."""
    plugin = webhook_plugin()
    installed = await admin.plugin(plugin)
    status = installed.status if installed is not None else ""
    # One that was just switched on is called active, too, but is loaded by the next start.
    if installed is not None and status == "Active" and await admin.configuration(plugin) is not None:
        click.echo(f"  the Webhook plugin {installed.version} is active")
        return True
    if status not in {"Active", "Restart"} and not await _provide(linking, admin, installed):
        return False
    effect = "it breaks off what is being watched" if linking.restart else "not while somebody watches"
    if not linking.ask(f"restart the server, which the plugin needs (a few seconds; {effect})"):
        return False
    if not linking.restart and await admin.is_playing():
        click.echo(
            "  somebody is watching: the server is not restarted. Run link again later, or with --restart"
        )
        return False
    await admin.restart()
    after = await admin.plugin(plugin)
    if after is None or after.status != "Active":
        click.echo(
            f"  the plugin is {after.status if after else 'not there'} after the restart: see the server's log. New films are found by scans meanwhile"
        )
        return False
    click.echo(f"  the Webhook plugin {after.version} is active")
    return True


async def _provide(linking: Linking, admin: JellyfinAdmin, installed: InstalledPlugin | None) -> bool:
    """Have the plugin ready for the server's next start."""
    plugin = webhook_plugin()
    if installed is not None and installed.status == "Disabled":
        if not linking.ask(f"switch on the Webhook plugin {installed.version}, which is switched off"):
            return False
        await admin.enable(plugin, installed)
        return True
    version = plugin.version_for(linking.version)
    if version is None:
        click.echo("  this server is too old for the Webhook plugin: new films are found by scans")
        return False
    if not linking.ask(
        f"install the Webhook plugin {version} from {plugin.repository_name} ({plugin.repository_url})"
    ):
        return False
    if reason := await admin.install(plugin, version):
        click.echo(f"  {reason}")
    return not reason


async def _add_destination(linking: Linking, admin: JellyfinAdmin) -> bool:
    """Have our destination as it must be; returns whether it is."""
    plugin = webhook_plugin()
    configuration = await admin.configuration(plugin) or {}
    known, file = linking.secret, linking.config.parent / SECRET_FILE
    secret = known or secrets.token_urlsafe(32)
    headers = [
        {"Key": "Content-Type", "Value": "application/json"},
        {"Key": "Authorization", "Value": f"Bearer {secret}"},
    ]
    destination = {
        **plugin.destination,
        "WebhookUri": f"{linking.public_url}/webhook/jellyfin",
        "Headers": headers,
    }
    wanted = upsert_destination(configuration, destination)
    if wanted == configuration:
        click.echo("  the destination FluxCaption is right as it is")
        return True
    kept = "" if known else f" and keep its new secret in {file}"
    if not linking.ask(
        f"add or repair the destination FluxCaption ({destination['WebhookUri']}){kept}; other destinations stay as they are"
    ):
        return False
    if not known:
        write_file(file, secret + "\n", 0o600)
    await admin.save_configuration(plugin, wanted)
    return True


async def _prove(linking: Linking, admin: JellyfinAdmin) -> bool | None:
    """Have the server send one event to us, through the running daemon or a listener of our own; None where that was not wanted."""
    if not linking.ask(
        f"have the server send one harmless event to {linking.public_url} (for a moment the destination asks for SessionStart)"
    ):
        return None
    known = linking.known()
    through_daemon = watch_through_daemon(known) if known else None
    if through_daemon is not None:
        seen = await prove(admin, through_daemon, AMPLE_S)
    else:
        async with WebhookProbeListener(linking.secret) as transcriber:
            host, port = linking.listen.rsplit(":", 1)
            try:
                await transcriber.listen(host.strip("[]"), int(port))
            except OSError as error:
                click.echo(
                    f"  {linking.listen} cannot be opened ({error.strerror}): the round trip is not proved. Give --listen"
                )
                return False
            seen = await prove(admin, lambda device: wait_for(transcriber.probes, device, AMPLE_S), AMPLE_S)
    if seen:
        click.echo(f"  proved: an event of the server arrived at {linking.public_url}")
    else:
        click.echo(
            f"  not seen: the server called {linking.public_url}, and nothing arrived within 15 s. Give --public-url an address it can reach"
        )
    return seen


async def _tell_viewers(linking: Linking, admin: JellyfinAdmin, viewers: Sequence[Viewer]) -> None:
    """Say what Jellyfin will do with files beside films for each viewer, and offer to change it."""
    told = {
        "Default": "any file beside a film plays by itself, in whatever language",
        "Smart": "subtitles in a preferred language play where the sound is in another",
        "Always": "a full track in a preferred language plays always",
        "OnlyForced": "only forced tracks play by themselves",
        "None": "nothing plays by itself",
    }
    for viewer in viewers:
        click.echo(f"  {viewer.name}: mode {viewer.mode}: {told.get(viewer.mode, 'unknown')}")
        if viewer.mode == "Default" and linking.ask(f"set the subtitle mode of {viewer.name} to Smart"):
            if await admin.set_mode(viewer, "Smart"):
                continue
            click.echo(
                f"  the server does not let us: {viewer.name} can do it under Settings > Subtitles > Subtitle mode"
            )


def _proposed(viewers: Sequence[Viewer]) -> list[LanguageTag]:
    """Targets from what the viewers prefer, most wanted first; English where nobody said anything."""
    counts: dict[LanguageTag, int] = {}
    for viewer in viewers:
        for language in viewer.languages:
            if (tag := normalize(language)) is not None:
                counts[tag] = counts.get(tag, 0) + 1
    return sorted(counts, key=lambda tag: (-counts[tag], str(tag))) or [LanguageTag("en")]


def _write_config(linking: Linking, targets: Sequence[LanguageTag]) -> None:
    """Write a new configuration, or say what one that is there should say besides."""
    known = linking.known()
    secret_setting = {"webhook_secret_file": SECRET_FILE} if linking.secret else {}
    if known is None:
        server = {"type": "jellyfin", "url": linking.url, **linking.key_setting} | (
            {"ca_file": str(linking.ca_file)} if linking.ca_file else {}
        )
        web = {"listen": linking.listen, "public_url": linking.public_url, **secret_setting}
        if linking.ask(f"write {linking.config}"):
            write_file(
                linking.config,
                commented_config(
                    {"server": server, "languages": {"targets": tuple(map(str, targets))}, "web": web}
                ),
                0o644,
            )
            click.echo(
                f"next: fluxcaption scan --dry-run --config {linking.config} shows what is missing and what it would cost; fluxcaption run starts"
            )
        return
    lines = _differences(linking, known)
    if not lines:
        click.echo(f"{linking.config} is right as it is")
        return
    click.echo(
        "\n".join([f"{linking.config} is there already and stays as it is. It should say:", "", *lines])
    )


def _differences(linking: Linking, known: Settings) -> list[str]:
    """What the configuration must say otherwise, as its own lines."""
    server: dict[str, str] = {}
    stated = linking.known_server()
    if stated is None:
        server = {"type": "jellyfin", "url": linking.url}
    if stated is None or stated.api_key is None or stated.api_key.get_secret_value() != linking.key:
        server |= linking.key_setting
    if linking.ca_file is not None and (stated is None or stated.ca_file != linking.ca_file):
        server["ca_file"] = str(linking.ca_file)
    web: dict[str, str] = {}
    if known.web.listen != linking.listen:
        web["listen"] = linking.listen
    if known.web.public_url.rstrip("/") != linking.public_url:
        web["public_url"] = linking.public_url
    if known.web.webhook_secret is None and linking.secret:
        web["webhook_secret_file"] = SECRET_FILE
    lines = []
    for name, section in (("server", server), ("web", web)):
        lines += (
            [f"{name}:", *(f"  {key}: {json.dumps(value)}" for key, value in section.items())]
            if section
            else []
        )
    return lines


async def _forecast(linking: Linking) -> None:
    """Say what the whole library would cost; where nothing translates yet, as if something did."""
    known = linking.known()
    assert known is not None
    if not known.translation.backends:
        assumed = OllamaTranslation(type="ollama", url="http://localhost:11434", model="any")
        known = known.model_copy(
            update={"translation": known.translation.model_copy(update={"backends": (assumed,)})}
        )
        click.echo(
            '  nothing translates yet: set translation.backends, as in [{type: ollama, url: "http://localhost:11434", model: NAME}]. With it:'
        )
    click.echo(report_as_text(ScanAnswer.of(await scan_without_daemon(known, dry_run=True)), dry_run=True))
