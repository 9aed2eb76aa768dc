"""`doctor`: checks what a user can get wrong; one line and one fix for each finding."""

import asyncio
import json
from pathlib import Path

import click

from fluxcaption.app import VERSION
from fluxcaption.cli.common import config_option, run_async, settings_for
from fluxcaption.cli.daemon_client import call_daemon, is_running
from fluxcaption.jellyfin.checks import AMPLE_S, Finding, Severity, Watch, check_server
from fluxcaption.logs import one_line
from fluxcaption.settings import FolderConfig, Settings

SIGNS = {Severity.OK: "ok", Severity.WARNING: "!!", Severity.PROBLEM: "XX", Severity.SKIPPED: "--"}


@click.command("doctor")
@config_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def doctor(config: Path | None, as_json: bool) -> int:
    """Check everything about the connection to the library; each finding with its fix."""
    settings = settings_for(config, log_level="error")
    findings = run_async(_check(settings))
    if as_json:
        click.echo(
            json.dumps(
                [
                    {"check": one.name, "severity": one.severity.value, "text": one.text, "fix": one.fix}
                    for one in findings
                ]
            )
        )
    else:
        for one in findings:
            click.echo(
                one_line(f"{SIGNS[one.severity]} {one.name}: {one.text}")
                + (f"\n     do: {one.fix}" if one.fix else "")
            )
    return 1 if any(one.severity is Severity.PROBLEM for one in findings) else 0


async def _check(settings: Settings) -> list[Finding]:
    if isinstance(settings.server, FolderConfig):
        is_there = settings.server.path.is_dir()
        fix = "" if is_there else "mount it, or correct server.path"
        return [
            Finding(
                "folder",
                Severity.OK if is_there else Severity.PROBLEM,
                f"{settings.server.path} is {'' if is_there else 'not '}there",
                fix,
            )
        ]
    return await check_server(settings, VERSION, watch_through_daemon(settings))


def watch_through_daemon(settings: Settings) -> Watch | None:
    """How the running daemon tells that an event came back; None where none runs."""
    if not is_running(settings):
        return None

    async def watch(device: str) -> bool:
        loop = asyncio.get_running_loop()
        until = loop.time() + AMPLE_S
        while loop.time() < until:
            if (await call_daemon(settings, "GET", f"/api/probes/{device}"))["seen"]:
                return True
            await asyncio.sleep(0.2)
        return False

    return watch
