"""What all commands share: exit codes, error lines and how the configuration is found."""

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

from fluxcaption.config.load import find_config, load_settings, secrets_of
from fluxcaption.domain.errors import ConfigError, FluxCaptionError, ParkedError, UsageError
from fluxcaption.logs import one_line, set_up_logging
from fluxcaption.settings import Settings

DONE, FAILED, USAGE, TRY_LATER, CONFIG = 0, 1, 2, 75, 78

LINGER_S = 2.0
"""What still runs in a thread at the end is waited for this long."""

Result = TypeVar("Result")

config_option = click.option(
    "--config",
    "config",
    type=click.Path(path_type=Path),
    help="Configuration file; else $FLUXCAPTION_CONFIG, else /etc/fluxcaption/config.yaml.",
)


def settings_for(config: Path | None, *, log_level: str | None = None) -> Settings:
    """Load the configuration and set up logging as it says; a broken one ends the program with 78."""
    settings = load_settings(find_config(config, os.environ), os.environ)
    debug = bool(click.get_current_context().find_root().params.get("debug"))
    set_up_logging(
        "debug" if debug else log_level or settings.log.level,
        settings.log.format,
        secrets_of(settings),
        debug=debug,
    )
    return settings


class _Threads(ThreadPoolExecutor):
    """The loop's threads; its end does not wait for what still blocks in one of them."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        super().shutdown(wait=False, cancel_futures=True)


def run_async(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run one command's work on a loop of its own."""

    async def work() -> Result:
        asyncio.get_running_loop().set_default_executor(_Threads(thread_name_prefix="blocking"))
        return await coroutine

    return asyncio.run(work())


def run_guarded(command: Callable[[], Any], *, debug: bool) -> NoReturn:
    """Run a command, turn what goes wrong into one line and an exit code, and end the program."""
    try:
        _ended(command, debug=debug)
    except SystemExit as ended:
        _leave(ended.code if isinstance(ended.code, int) else DONE)
    raise AssertionError("a command ends with an exit code")


def _leave(code: int) -> NoReturn:
    """End the program; what still waits for a silent server or decodes is given a moment, since the interpreter itself would wait for ever."""
    deadline = time.monotonic() + LINGER_S
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                logging.shutdown()
                for stream in (sys.stdout, sys.stderr):
                    with suppress(OSError, ValueError):
                        stream.flush()
                os._exit(code)
    sys.exit(code)


def _ended(command: Callable[[], Any], *, debug: bool) -> NoReturn:
    try:
        result = command()
    except ConfigError as error:
        for problem in error.problems:
            _say(str(problem))
        sys.exit(CONFIG)
    except click.ClickException as error:
        error.show()
        sys.exit(USAGE)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except FluxCaptionError as error:
        if debug:
            raise
        _say(f"fluxcaption: {error}")
        sys.exit(
            USAGE
            if isinstance(error, UsageError)
            else TRY_LATER
            if isinstance(error, ParkedError)
            else FAILED
        )
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(DONE)
    except Exception as error:
        if debug:
            raise
        _say(
            f"fluxcaption: unexpected {type(error).__name__}: {error}: run it again with --debug and report what it prints"
        )
        sys.exit(FAILED)
    sys.exit(result if isinstance(result, int) else DONE)


def _say(text: str) -> None:
    print(one_line(text), file=sys.stderr)
