"""Whether a neighbour is worth asking: once it has failed, the stages that need it wait, instead of every job finding out by itself."""

import random
from collections.abc import Awaitable, Callable

from fluxcaption.domain.errors import KeyRejected, ServiceUnreachable
from fluxcaption.domain.jobs import Stage

Probe = Callable[[], Awaitable[object]]
"""Asks a neighbour the least that shows it is there; raises as a stage would."""

UNSENT_S, SENT_S, KEY_S, MAX_S = 4.0, 10.0, 60.0, 60.0
"""A refused connection costs the neighbour nothing; else one request in ten seconds, fewer with a wrong key (fault matrix, rows 5, 6 and 8)."""

MAX_WISHED_S = 3600.0
"""No neighbour is believed that wants to be left alone longer."""

JITTER = 0.2

MAX_TRIES = 3
"""After so many failures in a row a run that ends by itself waits no longer."""


class CircuitBreaker:
    """One neighbour, as the stages that failed with it know it."""

    def __init__(self, service: str, probe: Probe | None) -> None:
        self.service = service
        self.probe = probe
        self.stages: set[Stage] = set()
        self.is_open = False
        self._error: ServiceUnreachable | KeyRejected | None = None
        self._tries = 0
        self._openings = 0

    def open(self, error: ServiceUnreachable | KeyRejected) -> float:
        """Stop asking; seconds until the next try, more each time that no job got through in between."""
        self.is_open = True
        self._openings += 1
        return self._paused(error, 2 ** min(self._openings - 1, 8))

    def probe_failed(self, error: ServiceUnreachable | KeyRejected) -> float:
        """Go on waiting; seconds until the next try."""
        return self._paused(error, 1)

    def close(self) -> bool:
        """Jobs may ask again; returns whether the neighbour had been seen away by more than a single job."""
        self.is_open = False
        return self._tries > 1

    def record_success(self) -> None:
        """The neighbour is well."""
        self._tries = self._openings = 0

    @property
    def is_new(self) -> bool:
        """Whether this is the first failure after a success."""
        return self._tries == 1

    @property
    def has_given_up(self) -> bool:
        """Whether nobody should wait for it who wants to end."""
        return self.is_open and (self._tries >= MAX_TRIES or isinstance(self._error, KeyRejected))

    def _paused(self, error: ServiceUnreachable | KeyRejected, factor: int) -> float:
        self._error = error
        self._tries += 1
        if isinstance(error, KeyRejected):
            pause = KEY_S
        else:
            pause = max(
                min((SENT_S if error.was_sent else UNSENT_S) * factor, MAX_S),
                min(error.retry_after_s, MAX_WISHED_S),
            )
        return pause * (1 + JITTER * random.random())  # noqa: S311 no secret
