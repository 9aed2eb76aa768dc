"""`link`: connect a Jellyfin server, step by step."""

import os
import re
from pathlib import Path

import click

from fluxcaption.cli import link_steps
from fluxcaption.cli.common import config_option, run_async
from fluxcaption.cli.link_config import DEFAULT_LISTEN, LinkConfig, LinkOptions, read_secret
from fluxcaption.cli.link_steps import Credentials, LinkSession
from fluxcaption.config.load import find_config


def _check_address(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value and not re.fullmatch(r"https?://[^/\s]+\S*", value):
        raise click.BadParameter(
            f"{value!r} does not begin with http:// or https://. Write it as in http://jellyfin:8096."
        )
    return value


def _check_listen(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value and not re.fullmatch(r".+:\d{1,5}", value):
        raise click.BadParameter(f"{value!r} is not an address with a port. Write it as in {DEFAULT_LISTEN}.")
    return value


@click.command("link")
@click.argument("url", callback=_check_address)
@config_option
@click.option("--user", help="Name of an administrator, to create an API key; without it a key is needed.")
@click.option(
    "--password-file",
    type=click.Path(path_type=Path, exists=True),
    help="File with the administrator's password; without it the password is asked for.",
)
@click.option(
    "--api-key-file",
    type=click.Path(path_type=Path, exists=True),
    help="File with an existing API key.",
)
@click.option(
    "--ca-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Certificate authority of a self-signed server.",
)
@click.option(
    "--public-url",
    callback=_check_address,
    help="Address under which Jellyfin can call this daemon. Default: as configured, or this machine's name.",
)
@click.option(
    "--listen",
    callback=_check_listen,
    help=f"Address and port on which the daemon listens. Default: as configured, or {DEFAULT_LISTEN}.",
)
@click.option("--yes", is_flag=True, help="Do every step without asking.")
@click.option("--restart", is_flag=True, help="Restart the server even during a playback.")
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
    """Connect the Jellyfin server at URL: key, webhook plugin, webhook destination, test event, config."""
    options = LinkOptions(
        url=url.rstrip("/"),
        config=find_config(config, os.environ),
        public_url=public_url,
        listen=listen,
        ca_file=ca_file.absolute() if ca_file else None,
    )
    session = LinkSession(LinkConfig(options), assume_yes=yes, allow_restart=restart)
    return run_async(_link(session, _credentials(user, password_file, api_key_file)))


def _credentials(user: str | None, password_file: Path | None, api_key_file: Path | None) -> Credentials:
    def read_password() -> str:
        if password_file:
            return read_secret(password_file)
        return str(click.prompt(f"Password of {user}", hide_input=True))

    if api_key_file:
        key, key_setting = read_secret(api_key_file), {"api_key_file": str(api_key_file.absolute())}
    else:
        key, key_setting = os.environ.get("JELLYFIN_API_KEY", ""), {"api_key": "${JELLYFIN_API_KEY}"}
    return Credentials(user, read_password, key, key_setting)


async def _link(session: LinkSession, credentials: Credentials) -> int:
    """Run all steps. Return 0 if the webhook works at the end, 1 otherwise."""
    server_version = await link_steps.reach_server(session)
    key = session.config.api_key = await link_steps.obtain_key(session, credentials)
    # The next steps use the webhook settings of an existing configuration, so it must be valid from here on.
    session.config.existing()
    is_verified = False
    async with session.open_admin(key) as admin:
        if await link_steps.install_plugin(
            session, admin, server_version
        ) and await link_steps.add_destination(session, admin):
            is_verified = await link_steps.verify_delivery(session, admin)
            await link_steps.trigger_tasks(session, admin)
        users = await admin.users()
        await link_steps.review_subtitle_modes(session, admin, users)
    link_steps.write_config(session, users)
    await link_steps.forecast(session)
    return 0 if is_verified else 1
