"""State of the whole process that each test restores."""

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _restore_log_levels() -> Iterator[None]:
    """Restore the log levels, which a command run inside a test sets for the whole process."""
    loggers = (logging.getLogger(), logging.getLogger("fluxcaption"))
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
