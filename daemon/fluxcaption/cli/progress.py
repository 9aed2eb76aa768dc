"""Progress of a command: bars on a terminal, plain lines elsewhere."""

import sys
from types import TracebackType
from typing import Self

from fluxcaption.domain.units import Ms
from fluxcaption.logs import one_line


class ProgressDisplay:
    """One bar for each running task; without a terminal one line on stderr for each finished quarter."""

    def __init__(self) -> None:
        self._bars: dict[str, int] = {}
        """Bar id by task name; without a terminal the number of printed quarters."""
        self._display = None
        if sys.stderr.isatty():
            # Imported late: the daemon runs without it and saves the memory.
            from rich.console import Console
            from rich.progress import Progress

            self._display = Progress(console=Console(stderr=True), transient=True)

    def __enter__(self) -> Self:
        if self._display is not None:
            self._display.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._display is not None:
            self._display.stop()

    def update(self, name: str, done: Ms, whole: Ms) -> None:
        """Show that `done` of `whole` ms of media are processed."""
        if self._display is None:
            self._print_quarter(name, done, whole)
            return
        if name not in self._bars:
            from rich.markup import escape

            self._bars[name] = int(self._display.add_task(escape(one_line(name)), total=whole))
        self._display.update(self._bars[name], completed=done)  # type: ignore[arg-type]

    def _print_quarter(self, name: str, done: Ms, whole: Ms) -> None:
        quarters = 4 * done // max(1, whole)
        if quarters > self._bars.get(name, 0) and done < whole:
            print(one_line(f"{name}: {25 * quarters} %"), file=sys.stderr, flush=True)
        self._bars[name] = quarters

    def line(self, text: str) -> None:
        """Print a line that stays."""
        text = one_line(text)
        if self._display is not None:
            self._display.console.print(text, markup=False, highlight=False)
        else:
            print(text, flush=True)
