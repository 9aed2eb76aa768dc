"""The command line: its groups and options; one file for each command family."""

import sys

import click

from fluxcaption.cli import config, doctor, files, items, jobs, link, run
from fluxcaption.cli.common import run_guarded
from fluxcaption.malloc import keep_memory_tight


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fluxcaption")
@click.option("--debug", is_flag=True, help="Show tracebacks and debug lines.")
def cli(debug: bool) -> None:
    """Subtitles in your household's languages, for every film and episode."""


for family in (run, files, items, jobs, link, doctor, config):
    for command in family.COMMANDS:
        cli.add_command(command)


def main() -> None:
    """Run the command line and exit with its code."""
    keep_memory_tight()
    run_guarded(lambda: cli.main(standalone_mode=False), debug="--debug" in sys.argv)
