"""`link`: connects a Jellyfin server, step by step; each step says what it will do, asks, and can be run again."""

import os
import secrets
import socket
from collections.abc import Sequence
from pathlib import Path

import click
from pydantic import SecretStr

from fluxcaption.cli.common import config_option, run_async
from fluxcaption.cli.doctor import watch_through_daemon
from fluxcaption.cli.running import report_as_text, scan_alone
from fluxcaption.config_file import find_config, load_settings
from fluxcaption.domain.errors import FluxCaptionError, UsageError
from fluxcaption.domain.language import LanguageTag, normalise
from fluxcaption.jellyfin.admin import JellyfinAdmin, Viewer, with_destination
from fluxcaption.jellyfin.checks import AMPLE_S, prove
from fluxcaption.jellyfin.client import JellyfinClient
from fluxcaption.plugin_manifest import webhook_plugin
from fluxcaption.settings import JellyfinServer, Settings
from fluxcaption.web.api import ScanAnswer
from fluxcaption.web.proof import ProofListener, wait_for
from fluxcaption.wiring import VERSION

KEY_FILE, SECRET_FILE = "jellyfin_api_key", "webhook_secret"


class Linking:
    """One run of `link`."""

    def __init__(self, url: str, config: Path, public_url: str, listen: str, *, yes: bool, restart: bool) -> None:
        self.url = url.rstrip("/")
        self.config = config
        self.public_url = public_url.rstrip("/")
        self.listen = listen
        self.yes = yes
        self.restart = restart
        self.version = (0, 0, 0)

    def ask(self, what: str) -> bool:
        """Say what would be done, and ask."""
        if self.yes:
            click.echo(f"- {what}")
            return True
        return click.confirm(f"- {what}?", default=True)

    def settings(self, key: str) -> JellyfinServer:
        """Settings of the server as far as they are known."""
        known = self.known()
        if known is not None and isinstance(known.server, JellyfinServer) and known.server.url.rstrip("/") == self.url:
            return known.server.model_copy(update={"api_key": SecretStr(key)})
        return JellyfinServer(url=self.url, api_key=SecretStr(key))

    def known(self) -> Settings | None:
        """The configuration that is there already, if it can be used."""
        try:
            return load_settings(self.config, os.environ) if self.config.is_file() else None
        except FluxCaptionError:
            return None

    def secret(self) -> str:
        """The webhook's secret: the known one, else a new one in a file of its own."""
        known = self.known()
        if known is not None and known.web.webhook_secret is not None:
            return known.web.webhook_secret.get_secret_value()
        file = self.config.parent / SECRET_FILE
        if file.is_file():
            return file.read_text(encoding="utf-8").strip()
        value = secrets.token_urlsafe(32)
        write_secret(file, value)
        click.echo(f"  the webhook's secret is in {file}")
        return value


def write_secret(file: Path, value: str) -> None:
    """Write a file that its owner alone may read."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as opened:
        opened.write(value + "\n")


@click.command("link")
@click.argument("url")
@config_option
@click.option("--user", help="An administrator's name, to make a key with; else a key is asked for.")
@click.option("--password-file", type=click.Path(path_type=Path, exists=True), help="File with that account's password; else it is asked for.")
@click.option("--api-key-file", type=click.Path(path_type=Path, exists=True), help="File with an API key that is there already.")
@click.option("--public-url", help="The address under which Jellyfin can call this daemon; else this machine's name and port 8765.")
@click.option("--listen", default="0.0.0.0:8765", show_default=True, help="Where the daemon listens, or will.")
@click.option("--yes", is_flag=True, help="Do every step without asking.")
@click.option("--restart", is_flag=True, help="Restart the server even while somebody watches.")
def link(
    url: str,
    config: Path | None,
    user: str | None,
    password_file: Path | None,
    api_key_file: Path | None,
    public_url: str | None,
    listen: str,
    yes: bool,
    restart: bool,
) -> int:
    """Connect the Jellyfin server at URL: key, webhook plugin, webhook destination, proof of the round trip, config."""
    target = config or Path(os.environ.get("FLUXCAPTION_CONFIG") or "/etc/fluxcaption/config.yaml")
    if config is None and target.is_file():
        target = find_config(None, os.environ)
    port = listen.rsplit(":", 1)[-1]
    linking = Linking(url, target, public_url or f"http://{socket.gethostname()}:{port}", listen, yes=yes, restart=restart)
    given = api_key_file.read_text(encoding="utf-8").strip() if api_key_file else os.environ.get("JELLYFIN_API_KEY", "")
    password = password_file.read_text(encoding="utf-8").strip() if password_file else ""
    if user and not password:
        password = click.prompt(f"Password of {user}", hide_input=True)
    return run_async(_link(linking, user, password, given))


async def _link(linking: Linking, user: str | None, password: str, given: str) -> int:
    key = await _make_key(linking, user, password, given)
    client = JellyfinClient(linking.settings(key), VERSION)
    try:
        admin = JellyfinAdmin(client)
        secret = linking.secret()
        is_active = await _install(linking, admin)
        seen: bool | None = None
        if is_active:
            await _add_destination(linking, admin, secret)
            seen = await _prove(linking, admin, secret)
            await admin.hurry_news(webhook_plugin())
        viewers = await admin.viewers()
        await _tell_viewers(linking, admin, viewers)
        _write_config(linking, _proposed(viewers))
        if (known := linking.known()) is not None and linking.ask("look at the whole library, changing nothing, and say what it would cost"):
            click.echo(report_as_text(ScanAnswer.of(await scan_alone(known, dry_run=True)), dry_run=True))
        return 0 if is_active and seen else 1
    finally:
        await client.close()


async def _make_key(linking: Linking, user: str | None, password: str, given: str) -> str:
    """Reach the server, and get a key that carries our name."""
    client = JellyfinClient(linking.settings(given), VERSION)
    try:
        name, linking.version = await JellyfinAdmin(client).public_info()
        click.echo(f"{name}, Jellyfin {'.'.join(str(part) for part in linking.version)}")
        token = given
        if user:
            token = await JellyfinAdmin(client).log_in(user, password)
        elif not token:
            known = linking.config.parent / KEY_FILE
            token = known.read_text(encoding="utf-8").strip() if known.is_file() else ""
        if not token:
            raise UsageError("link needs an administrator: give --user NAME, or --api-key-file FILE with a key from Dashboard > API Keys")
    finally:
        await client.close()
    client = JellyfinClient(linking.settings(token), VERSION)
    try:
        admin = JellyfinAdmin(client)
        await admin.check_key()
        file = linking.config.parent / KEY_FILE
        if file.is_file() and file.read_text(encoding="utf-8").strip() == token:
            return token
        if not linking.ask(f"make an API key named FluxCaption and keep it in {file} (readable by you alone)"):
            return token
        key = await admin.key_of_ours()
        write_secret(file, key)
        return key
    finally:
        await client.close()


async def _install(linking: Linking, admin: JellyfinAdmin) -> bool:
    """Have the Webhook plugin active, at the version that fits the server."""
    plugin = webhook_plugin()
    version = plugin.version_for(linking.version)
    installed = await admin.plugin(plugin)
    if installed is not None and installed.status == "Active":
        click.echo(f"  the Webhook plugin {installed.version} is active")
        return True
    if version is None:
        click.echo("  this server is too old for the Webhook plugin: new films are found by scans")
        return False
    if installed is None or installed.status not in {"Restart"}:
        if not linking.ask(f"install the Webhook plugin {version} from {plugin.repository_name} ({plugin.repository_url})"):
            return False
        if not await admin.install(plugin, version):
            click.echo(f"  the server offers no such plugin: is {plugin.repository_url} among its repositories (Dashboard > Plugins > Repositories)?")
            return False
    if not linking.restart and await admin.somebody_plays():
        click.echo("  somebody is watching: the server is not restarted. Run link again later, or with --restart")
        return False
    if not linking.ask("restart the server, which the plugin needs (a few seconds; it breaks off what is being watched)"):
        return False
    await admin.restart()
    after = await admin.plugin(plugin)
    if after is None or after.status != "Active":
        click.echo(f"  the plugin is {after.status if after else 'not there'} after the restart: see the server's log. New films are found by scans meanwhile")
        return False
    click.echo(f"  the Webhook plugin {after.version} is active")
    return True


async def _add_destination(linking: Linking, admin: JellyfinAdmin, secret: str) -> None:
    plugin = webhook_plugin()
    configuration = await admin.configuration(plugin) or {}
    headers = [{"Key": "Content-Type", "Value": "application/json"}, {"Key": "Authorization", "Value": f"Bearer {secret}"}]
    destination = {**plugin.destination, "WebhookUri": f"{linking.public_url}/webhook/jellyfin", "Headers": headers}
    wanted = with_destination(configuration, destination)
    if wanted == configuration:
        click.echo("  the destination FluxCaption is right as it is")
    elif linking.ask(f"add or repair the destination FluxCaption ({destination['WebhookUri']}); other destinations stay as they are"):
        await admin.save_configuration(plugin, wanted)


async def _prove(linking: Linking, admin: JellyfinAdmin, secret: str) -> bool | None:
    """Have the server send one event to us, through the running daemon or a listener of our own."""
    known = linking.known()
    through_daemon = watch_through_daemon(known) if known else None
    if through_daemon is not None:
        seen = await prove(admin, through_daemon)
    else:
        async with ProofListener(secret) as listener:
            host, port = linking.listen.rsplit(":", 1)
            try:
                await listener.listen(host.strip("[]"), int(port))
            except OSError as error:
                click.echo(f"  {linking.listen} cannot be opened ({error.strerror}): the round trip is not proved. Give --listen")
                return False
            seen = await prove(admin, lambda device: wait_for(listener.proofs, device, AMPLE_S))
    if seen:
        click.echo(f"  proved: an event of the server arrived at {linking.public_url}")
    else:
        click.echo(f"  not seen: the server called {linking.public_url}, and nothing arrived within 15 s. Give --public-url an address it can reach")
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
            click.echo(f"  the server does not let us: {viewer.name} can do it under Settings > Subtitles > Subtitle mode")


def _proposed(viewers: Sequence[Viewer]) -> list[LanguageTag]:
    """Targets from what the viewers prefer, most wanted first; English where nobody said anything."""
    counts: dict[LanguageTag, int] = {}
    for viewer in viewers:
        for language in viewer.languages:
            if (tag := normalise(language)) is not None:
                counts[tag] = counts.get(tag, 0) + 1
    return sorted(counts, key=lambda tag: (-counts[tag], str(tag))) or [LanguageTag("en")]


def _write_config(linking: Linking, targets: Sequence[LanguageTag]) -> None:
    lines = f"""\
server:
  type: jellyfin
  url: {linking.url}
  api_key_file: {KEY_FILE}
# Languages the household reads, from the viewers' preferences. See config.example.yaml for all that can be set.
languages:
  targets: [{", ".join(str(tag) for tag in targets)}]
web:
  listen: {linking.listen}
  public_url: {linking.public_url}
  webhook_secret_file: {SECRET_FILE}
"""
    if linking.config.exists():
        click.echo(f"{linking.config} is there already and stays as it is. It should say:\n\n{lines}")
        return
    if linking.ask(f"write {linking.config}"):
        linking.config.parent.mkdir(parents=True, exist_ok=True)
        linking.config.write_text("# FluxCaption, written by `fluxcaption link`.\n" + lines, encoding="utf-8")
        click.echo(f"next: fluxcaption scan --dry-run --config {linking.config} shows what is missing and what it would cost; fluxcaption run starts")


COMMANDS = (link,)
