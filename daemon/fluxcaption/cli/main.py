"""The entry point of the command line: one module for each command."""

import sys

import click

from fluxcaption.cli.caption import caption
from fluxcaption.cli.common import run_guarded
from fluxcaption.cli.config import check_config, schema
from fluxcaption.cli.doctor import doctor
from fluxcaption.cli.jobs import jobs
from fluxcaption.cli.link import link
from fluxcaption.cli.run import run
from fluxcaption.cli.scan import scan
from fluxcaption.cli.translate import translate
from fluxcaption.cli.undo import undo
from fluxcaption.cli.why import why
from fluxcaption.malloc import keep_memory_tight


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fluxcaption")
@click.option("--debug", is_flag=True, help="Print tracebacks and debug lines.")
def cli(debug: bool) -> None:
    """Make subtitles in your languages for every film and episode."""


for command in (run, scan, jobs, why, caption, translate, undo, link, doctor, check_config, schema):
    cli.add_command(command)


def main() -> None:
    """Run the command line and exit with its code."""
    keep_memory_tight()
    run_guarded(lambda: cli.main(standalone_mode=False), debug="--debug" in sys.argv)
