"""Progress on a terminal, plain lines elsewhere."""

import sys
from types import TracebackType
from typing import Self

from fluxcaption.domain.units import Ms
from fluxcaption.logs import one_line


class ProgressDisplay:
    """One bar for each thing in work; without a terminal a line on standard error for each quarter that is done."""

    def __init__(self) -> None:
        self._bars: dict[str, int] = {}
        self._display = None
        if sys.stderr.isatty():
            # Costs memory that a daemon has no use for.
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
        """Move a bar."""
        if self._display is None:
            quarters = 4 * done // max(1, whole)
            if quarters > self._bars.get(name, 0) and done < whole:
                print(one_line(f"{name}: {25 * quarters} %"), file=sys.stderr, flush=True)
            self._bars[name] = quarters
            return
        if name not in self._bars:
            from rich.markup import escape

            self._bars[name] = int(self._display.add_task(escape(one_line(name)), total=whole))
        self._display.update(self._bars[name], completed=done)  # type: ignore[arg-type]

    def line(self, text: str) -> None:
        """Say something that stays."""
        text = one_line(text)
        if self._display is not None:
            self._display.console.print(text, markup=False, highlight=False)
        else:
            print(text, flush=True)
