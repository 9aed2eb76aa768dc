"""`check-config` and `schema`: commands on the configuration file."""

from pathlib import Path

import click

from fluxcaption.cli.common import EXIT_DONE, settings_for
from fluxcaption.config.example import schema_text


@click.command("check-config")
@click.argument("file", required=False, type=click.Path(path_type=Path))
def check_config(file: Path | None) -> int:
    """Check a configuration and print all problems at once."""
    settings = settings_for(file)
    click.echo(
        f"The configuration is valid: {len(settings.languages.targets)} target language(s), "
        f"library of type {settings.server.type}."
    )
    return EXIT_DONE


@click.command("schema")
def schema() -> int:
    """Print the JSON Schema of the configuration."""
    click.echo(schema_text(), nl=False)
    return EXIT_DONE
