"""`doctor`: check the connection to the library; one line and one fix for each finding."""

import asyncio
import json
from pathlib import Path

import click

from fluxcaption.app import VERSION
from fluxcaption.cli.common import config_option, run_async, settings_for
from fluxcaption.cli.daemon_client import call_daemon, is_running
from fluxcaption.jellyfin.checks import check_server
from fluxcaption.jellyfin.findings import Finding, Severity
from fluxcaption.jellyfin.webhook_checks import DELIVERY_TIMEOUT_S, WaitForDevice
from fluxcaption.logs import one_line
from fluxcaption.settings import FolderConfig, Settings

MARKS = {Severity.OK: "ok", Severity.WARNING: "!!", Severity.PROBLEM: "XX", Severity.SKIPPED: "--"}
POLL_INTERVAL_S = 0.2


@click.command("doctor")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def doctor(config: Path | None, as_json: bool) -> int:
    """Check the connection to the library, and print a fix for each problem."""
    settings = settings_for(config, log_level="error")
    findings = run_async(_check(settings))
    click.echo(_as_json(findings) if as_json else "\n".join(map(_as_text, findings)))
    return 1 if any(finding.severity is Severity.PROBLEM for finding in findings) else 0


def _as_json(findings: list[Finding]) -> str:
    return json.dumps(
        [
            {
                "check": finding.name,
                "severity": finding.severity.value,
                "text": finding.text,
                "fix": finding.fix,
            }
            for finding in findings
        ]
    )


def _as_text(finding: Finding) -> str:
    line = one_line(f"{MARKS[finding.severity]} {finding.name}: {finding.text}")
    return f"{line}\n     do: {finding.fix}" if finding.fix else line


async def _check(settings: Settings) -> list[Finding]:
    if isinstance(settings.server, FolderConfig):
        return [_check_folder(settings.server)]
    return await check_server(settings, VERSION, wait_through_daemon(settings))


def _check_folder(folder: FolderConfig) -> Finding:
    if folder.path.is_dir():
        return Finding("folder", Severity.OK, f"{folder.path} exists")
    return Finding(
        "folder",
        Severity.PROBLEM,
        f"{folder.path} does not exist or is not a folder",
        "mount it, or correct server.path",
    )


def wait_through_daemon(settings: Settings) -> WaitForDevice | None:
    """Return a function that waits until the running daemon has received an event; None if no daemon runs."""
    if not is_running(settings):
        return None

    async def wait(device: str) -> bool:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + DELIVERY_TIMEOUT_S
        while loop.time() < deadline:
            if (await call_daemon(settings, "GET", f"/api/probes/{device}"))["seen"]:
                return True
            await asyncio.sleep(POLL_INTERVAL_S)
        return False

    return wait
