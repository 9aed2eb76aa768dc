"""Commands about the configuration file."""

from pathlib import Path

import click

from fluxcaption.cli.common import settings_for
from fluxcaption.config.example import schema_text


@click.command("check-config")
@click.argument("file", required=False, type=click.Path(path_type=Path))
def check_config(file: Path | None) -> int:
    """Say what is wrong with a configuration, all at once."""
    settings = settings_for(file)
    click.echo(
        f"The configuration is right: {len(settings.languages.targets)} target language(s), library of type {settings.server.type}."
    )
    return 0


@click.command("schema")
def schema() -> int:
    """Print the JSON Schema of the configuration."""
    click.echo(schema_text(), nl=False)
    return 0


COMMANDS = (check_config, schema)
