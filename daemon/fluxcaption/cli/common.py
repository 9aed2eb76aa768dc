"""Shared by all commands: exit codes, error lines, the configuration option and the event loop."""

import asyncio
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from fluxcaption.config.load import find_config, load_settings
from fluxcaption.config.secrets import secret_values
from fluxcaption.domain.errors import ConfigError, FluxCaptionError, ParkedError, UsageError
from fluxcaption.domain.language import LanguageTag
from fluxcaption.logs import one_line, set_up_logging
from fluxcaption.settings import Settings

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_TRY_LATER = 75
EXIT_CONFIG = 78
EXIT_INTERRUPTED = 130

THREAD_JOIN_TIMEOUT_S = 2.0
"""Time that running threads get to finish at the end of the program."""

Result = TypeVar("Result")

config_option = click.option(
    "--config",
    "config",
    type=click.Path(path_type=Path),
    help="Configuration file; by default $FLUXCAPTION_CONFIG, else /etc/fluxcaption/config.yaml.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


def settings_for(config: Path | None, *, log_level: str | None = None) -> Settings:
    """Load the configuration and set up logging.

    Args:
        config: The file of the `--config` option.
        log_level: Replaces `log.level`; `--debug` wins over both.

    Raises:
        ConfigError: The configuration is invalid; the program then exits with 78.
    """
    settings = load_settings(find_config(config, os.environ), os.environ)
    debug = bool(click.get_current_context().find_root().params.get("debug"))
    set_up_logging(
        "debug" if debug else log_level or settings.log.level,
        settings.log.format,
        secret_values(settings),
        debug=debug,
    )
    return settings


def parse_language(text: str) -> LanguageTag:
    """Return the language of a command-line option.

    Raises:
        UsageError: The text is not a language code.
    """
    try:
        return LanguageTag.parse(text)
    except ValueError as error:
        raise UsageError(str(error)) from error


class _BlockingCalls(ThreadPoolExecutor):
    """The default executor of the event loop; its shutdown does not wait for blocked threads."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        super().shutdown(wait=False, cancel_futures=True)


def run_async(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run the work of one command on a new event loop."""

    async def run() -> Result:
        asyncio.get_running_loop().set_default_executor(_BlockingCalls(thread_name_prefix="blocking"))
        return await coroutine

    return asyncio.run(run())


def run_guarded(command: Callable[[], Any], *, debug: bool) -> NoReturn:
    """Run a command, print an error as one line, and end the program with an exit code."""
    _end_process(_exit_code(command, debug=debug))


def _exit_code(command: Callable[[], Any], *, debug: bool) -> int:
    try:
        result = command()
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else EXIT_DONE
    except ConfigError as error:
        for problem in error.problems:
            _print_error(str(problem))
        return EXIT_CONFIG
    except click.ClickException as error:
        error.show()
        return EXIT_USAGE
    except (click.Abort, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    except FluxCaptionError as error:
        if debug:
            raise
        _print_error(f"fluxcaption: {error}")
        return _error_exit_code(error)
    except BrokenPipeError:
        # The reader of the output is gone: the interpreter must not fail when it flushes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_DONE
    except Exception as error:
        if debug:
            raise
        _print_error(
            f"fluxcaption: unexpected {type(error).__name__}: {error}: "
            "run the command again with --debug and report the output"
        )
        return EXIT_FAILED
    return result if isinstance(result, int) else EXIT_DONE


def _error_exit_code(error: FluxCaptionError) -> int:
    if isinstance(error, UsageError):
        return EXIT_USAGE
    return EXIT_TRY_LATER if isinstance(error, ParkedError) else EXIT_FAILED


def _end_process(code: int) -> NoReturn:
    """End the program; the interpreter would wait without limit for threads that are blocked in a call."""
    deadline = time.monotonic() + THREAD_JOIN_TIMEOUT_S
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                _flush_output()
                os._exit(code)
    sys.exit(code)


def _flush_output() -> None:
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()


def _print_error(text: str) -> None:
    print(one_line(text), file=sys.stderr)
