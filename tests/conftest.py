"""What every test leaves as it was."""

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def levels_are_as_before() -> Iterator[None]:
    """A command run inside a test sets up logging for the whole process, as a command should."""
    loggers = (logging.getLogger(), logging.getLogger("fluxcaption"))
    before = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)
