"""The entry point of the command line: one module for each command."""

import importlib
import sys

import click

from fluxcaption.cli.common import run_guarded
from fluxcaption.malloc import keep_memory_tight

COMMANDS = {
    "run": "run:run",
    "scan": "scan:scan",
    "jobs": "jobs:jobs",
    "why": "why:why",
    "caption": "caption:caption",
    "translate": "translate:translate",
    "undo": "undo:undo",
    "link": "link:link",
    "doctor": "doctor:doctor",
    "check-config": "config:check_config",
    "schema": "config:schema",
}
"""Module below `fluxcaption.cli` and function of each command, in the order of the help."""


class LazyGroup(click.Group):
    """Group that imports the module of a command with its first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of a name; None if there is none."""
        if cmd_name not in COMMANDS:
            return None
        module, _, function = COMMANDS[cmd_name].partition(":")
        command = getattr(importlib.import_module(f"fluxcaption.cli.{module}"), function)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fluxcaption")
@click.option("--debug", is_flag=True, help="Print tracebacks and debug lines.")
def cli(debug: bool) -> None:
    """Make subtitles in your languages for every film and episode."""


def main() -> None:
    """Run the command line and exit with its code."""
    keep_memory_tight()
    run_guarded(lambda: cli.main(standalone_mode=False), debug="--debug" in sys.argv)
