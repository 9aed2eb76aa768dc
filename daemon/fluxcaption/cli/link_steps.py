"""The steps of `link`. Each step states its action, asks for confirmation and can be repeated."""

import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import click

from fluxcaption.app import VERSION
from fluxcaption.cli.doctor import wait_through_daemon
from fluxcaption.cli.link_config import LinkConfig, propose_targets, write_new_file
from fluxcaption.cli.scan import report_as_text, scan_without_daemon
from fluxcaption.domain.errors import JobError, KeyRejected, UsageError
from fluxcaption.jellyfin.admin import InstalledPlugin, JellyfinAdmin, User, upsert_destination
from fluxcaption.jellyfin.client import JellyfinClient
from fluxcaption.jellyfin.versions import Version, read_version
from fluxcaption.jellyfin.webhook_checks import DELIVERY_TIMEOUT_S, verify_webhook_delivery, webhook_uri
from fluxcaption.plugin_manifest import webhook_plugin
from fluxcaption.settings import OllamaTranslation, Settings
from fluxcaption.web.views import ScanAnswer
from fluxcaption.web.webhook_probe import WebhookProbeListener, wait_for

SUBTITLE_MODES = {
    "Default": "an external subtitle file plays automatically, in any language",
    "Smart": "subtitles in a preferred language play if the audio is in another language",
    "Always": "full subtitles in a preferred language always play",
    "OnlyForced": "only forced subtitles play automatically",
    "None": "no subtitles play automatically",
}
"""Effect of each subtitle mode on external tracks (notes/jellyfin-server.md J22)."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """An administrator's login or an API key, as given on the command line.

    Attributes:
        user: Name of an administrator; None if a key is used instead.
        read_password: Reads the password from the given file, or asks for it.
        api_key: A given API key; empty if there is none.
        api_key_setting: The setting under which the configuration can refer to the given key.
    """

    user: str | None
    read_password: Callable[[], str]
    api_key: str
    api_key_setting: dict[str, str]


@dataclass(frozen=True, slots=True)
class LinkSession:
    """One run of `link`.

    Attributes:
        config: Existing and proposed settings.
        assume_yes: True if steps are not confirmed by the user.
        allow_restart: True if the server may be restarted during a playback.
    """

    config: LinkConfig
    assume_yes: bool
    allow_restart: bool

    def confirm(self, action: str) -> bool:
        """State an action and ask whether to do it. Return True without asking if `assume_yes` is set."""
        if self.assume_yes:
            click.echo(f"- {action}")
            return True
        return click.confirm(f"- {action}?", default=True)

    @asynccontextmanager
    async def open_admin(self, key: str) -> AsyncIterator[JellyfinAdmin]:
        """Open a connection to the server with a key or session token; closed at the end of the block."""
        client = JellyfinClient(self.config.connection(key), VERSION)
        try:
            yield JellyfinAdmin(client)
        finally:
            await client.close()


async def reach_server(session: LinkSession) -> Version:
    """Check that Jellyfin answers, and return its version."""
    async with session.open_admin("") as admin:
        identity = await admin.public_info()
    click.echo(f"{identity.name}, Jellyfin {identity.version}")
    return read_version(identity.version)


async def obtain_key(session: LinkSession, credentials: Credentials) -> str:
    """Return the existing key if the server accepts it; otherwise create one with the credentials.

    Raises:
        UsageError: There are no credentials, or the user refused to create a key after a login.
        KeyRejected: The server rejects the given key.
    """
    existing = session.config.existing_key()
    if existing:
        try:
            async with session.open_admin(existing) as admin:
                await admin.check_key(existing)
        except KeyRejected:
            click.echo("  the server no longer accepts the existing API key")
        else:
            click.echo("  the server accepts the existing API key")
            return existing
    if not credentials.user:
        if not credentials.api_key:
            raise UsageError(
                "link needs the rights of an administrator. "
                "Give --user NAME, or --api-key-file FILE with a key from Dashboard > API Keys."
            )
        async with session.open_admin(credentials.api_key) as admin:
            return await _create_key(session, admin, credentials, credentials.api_key)
    async with session.open_admin("") as admin:
        token = await admin.log_in(credentials.user, credentials.read_password())
    async with session.open_admin(token) as admin:
        try:
            return await _create_key(session, admin, credentials, token)
        finally:
            # A session that cannot be ended here expires on the server.
            with suppress(JobError):
                await admin.log_out(token)


async def _create_key(
    session: LinkSession, admin: JellyfinAdmin, credentials: Credentials, token: str
) -> str:
    """Create the key FluxCaption and store it; return the given key instead if the user declines."""
    await admin.check_key(token)
    config = session.config
    if session.confirm(
        f"create an API key named FluxCaption and store it in {config.key_file} (readable by you only)"
    ):
        key = await admin.ensure_api_key()
        write_new_file(config.key_file, key + "\n", 0o600)
        return key
    if credentials.user:
        raise UsageError(
            "FluxCaption cannot be linked without an API key. Run link again, or give --api-key-file."
        )
    config.key_setting = credentials.api_key_setting
    return token


async def install_plugin(session: LinkSession, admin: JellyfinAdmin, server_version: Version) -> bool:
    """Install and load the Webhook plugin. Return True if it is active afterwards."""
    plugin = webhook_plugin()
    installed = await admin.plugin(plugin)
    status = installed.status if installed is not None else ""
    # A plugin that was just enabled also has the status Active, but is not loaded before the next start.
    if installed is not None and status == "Active" and await admin.configuration(plugin) is not None:
        click.echo(f"  the Webhook plugin {installed.version} is active")
        return True
    if status not in {"Active", "Restart"} and not await _prepare_plugin(
        session, admin, installed, server_version
    ):
        return False
    return await _restart_server(session, admin)


async def _prepare_plugin(
    session: LinkSession, admin: JellyfinAdmin, installed: InstalledPlugin | None, server_version: Version
) -> bool:
    """Enable or install the plugin, so that the next start of the server loads it. Return True on success."""
    plugin = webhook_plugin()
    if installed is not None and installed.status == "Disabled":
        if not session.confirm(f"enable the Webhook plugin {installed.version}, which is disabled"):
            return False
        await admin.enable(plugin, installed)
        return True
    version = plugin.version_for(server_version)
    if version is None:
        click.echo("  this server is too old for the Webhook plugin; only scans find new films")
        return False
    if not session.confirm(
        f"install the Webhook plugin {version} from {plugin.repository_name} ({plugin.repository_url})"
    ):
        return False
    failure = await admin.install(plugin, version)
    if failure:
        click.echo(f"  {failure}")
    return not failure


async def _restart_server(session: LinkSession, admin: JellyfinAdmin) -> bool:
    """Restart the server, unless a video is playing. Return True if the plugin is active afterwards."""
    effect = "interrupts playbacks" if session.allow_restart else "not during a playback"
    if not session.confirm(f"restart the server to load the plugin (a few seconds; {effect})"):
        return False
    if not session.allow_restart and await admin.is_playing():
        click.echo(
            "  a video is playing, so the server was not restarted. Run link again later, or with --restart"
        )
        return False
    await admin.restart()
    installed = await admin.plugin(webhook_plugin())
    if installed is None or installed.status != "Active":
        state = f"has the status {installed.status}" if installed else "is missing"
        click.echo(
            f"  the Webhook plugin {state} after the restart; only scans find new films. See the server's log"
        )
        return False
    click.echo(f"  the Webhook plugin {installed.version} is active")
    return True


async def add_destination(session: LinkSession, admin: JellyfinAdmin) -> bool:
    """Add or repair our destination in the plugin's configuration. Return True if it is correct then."""
    plugin, config = webhook_plugin(), session.config
    configuration = await admin.configuration(plugin) or {}
    existing_secret = config.webhook_secret
    secret = existing_secret or secrets.token_urlsafe(32)
    destination = {
        **plugin.destination,
        "WebhookUri": webhook_uri(config.public_url),
        "Headers": [
            {"Key": "Content-Type", "Value": "application/json"},
            {"Key": "Authorization", "Value": f"Bearer {secret}"},
        ],
    }
    wanted = upsert_destination(configuration, destination)
    if wanted == configuration:
        click.echo("  the webhook destination FluxCaption needs no change")
        return True
    storing = "" if existing_secret else f" and store its new secret in {config.secret_file}"
    if not session.confirm(
        f"add or repair the webhook destination FluxCaption ({destination['WebhookUri']}){storing}; "
        "other destinations are not changed"
    ):
        return False
    if not existing_secret:
        write_new_file(config.secret_file, secret + "\n", 0o600)
    await admin.save_configuration(plugin, wanted)
    return True


async def verify_delivery(session: LinkSession, admin: JellyfinAdmin) -> bool:
    """Let the server send a test event, and wait for it. Return True if it arrived."""
    public_url = session.config.public_url
    if not session.confirm(
        f"let the server send one harmless event to {public_url} "
        "(the destination subscribes to SessionStart during the test)"
    ):
        return False
    settings = session.config.existing()
    wait_for_device = wait_through_daemon(settings) if settings is not None else None
    if wait_for_device is None:
        return await _verify_with_own_listener(session.config, admin)
    return _report_delivery(
        public_url, await verify_webhook_delivery(admin, wait_for_device, DELIVERY_TIMEOUT_S)
    )


async def _verify_with_own_listener(config: LinkConfig, admin: JellyfinAdmin) -> bool:
    """Receive the test event on the daemon's port, while no daemon runs. Return True if it arrived."""
    async with WebhookProbeListener(config.webhook_secret) as listener:
        host, port = config.listen.rsplit(":", 1)
        try:
            await listener.listen(host.strip("[]"), int(port))
        except OSError as error:
            click.echo(
                f"  {config.listen} cannot be opened ({error.strerror}), so the delivery was not verified. "
                "Give another address and port with --listen"
            )
            return False
        return _report_delivery(
            config.public_url,
            await verify_webhook_delivery(
                admin,
                lambda device: wait_for(listener.probes, device, DELIVERY_TIMEOUT_S),
                DELIVERY_TIMEOUT_S,
            ),
        )


def _report_delivery(public_url: str, is_delivered: bool | None) -> bool:
    """Print the result of the test. Return True if the event arrived."""
    if is_delivered:
        click.echo(f"  verified: an event of the server arrived at {public_url}")
        return True
    click.echo(
        f"  not verified: the server called {public_url}, and nothing arrived within "
        f"{DELIVERY_TIMEOUT_S:.0f} s. Give an address that the server can reach with --public-url"
    )
    return False


async def trigger_tasks(session: LinkSession, admin: JellyfinAdmin) -> None:
    """Start the plugin's tasks once, which arms their timers."""
    if session.confirm("start the tasks of the plugin, which send pending events and arm their timers"):
        await admin.trigger_webhook_tasks(webhook_plugin())


async def review_subtitle_modes(session: LinkSession, admin: JellyfinAdmin, users: Sequence[User]) -> None:
    """Print the effect of each user's subtitle mode, and offer to replace the mode Default."""
    for user in users:
        effect = SUBTITLE_MODES.get(user.subtitle_mode, "unknown to FluxCaption")
        click.echo(f"  {user.name}: mode {user.subtitle_mode}: {effect}")
        if user.subtitle_mode != "Default" or not session.confirm(
            f"set the subtitle mode of {user.name} to Smart"
        ):
            continue
        if not await admin.set_subtitle_mode(user, "Smart"):
            click.echo(
                "  the server does not allow this change; "
                f"{user.name} can make it under Settings > Subtitles > Subtitle mode"
            )


def write_config(session: LinkSession, users: Sequence[User]) -> None:
    """Write a new configuration; print the missing lines if one exists, and do not change it."""
    config, file = session.config, session.config.options.config
    settings = config.existing()
    if settings is None:
        if session.confirm(f"write {file}"):
            write_new_file(file, config.new_config_text(propose_targets(users)), 0o644)
            click.echo(
                f"next: `fluxcaption scan --dry-run --config {file}` lists the gaps and their cost; "
                "`fluxcaption run` starts the daemon"
            )
        return
    lines = config.missing_lines(settings)
    if lines:
        click.echo("\n".join([f"{file} exists and was not changed. Add these lines:", "", *lines]))
    else:
        click.echo(f"{file} needs no change")


async def forecast(session: LinkSession) -> None:
    """Scan the library without changes and print the cost; a missing translation backend is assumed."""
    settings = session.config.existing()
    if settings is None or session.config.existing_server() is None:
        return
    if not session.confirm("scan the whole library without changes and print what subtitles would cost"):
        return
    if not settings.translation.backends:
        settings = _with_assumed_translation(settings)
        click.echo(
            "  translation.backends is empty, so nothing is translated. Set it, as in "
            '[{type: ollama, url: "http://localhost:11434", model: NAME}]. The forecast with a backend:'
        )
    click.echo(report_as_text(ScanAnswer.of(await scan_without_daemon(settings, dry_run=True)), dry_run=True))


def _with_assumed_translation(settings: Settings) -> Settings:
    backend = OllamaTranslation(type="ollama", url="http://localhost:11434", model="any")
    translation = settings.translation.model_copy(update={"backends": (backend,)})
    return settings.model_copy(update={"translation": translation})
