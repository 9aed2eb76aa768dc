"""Circuit breaker of one service: after a failure, the stages that need the service wait.

The worker pool opens the breaker at the first failure, so that the other jobs do not fail one by one.
"""

import random
from collections.abc import Awaitable, Callable

from fluxcaption.domain.errors import KeyRejected, ServiceUnreachable
from fluxcaption.domain.jobs import Stage

Probe = Callable[[], Awaitable[object]]
"""Sends the cheapest request that needs a working service; raises the same errors as a stage."""

UNSENT_REQUEST_DELAY_S = 4.0
"""Delay after a request that was not sent, such as a refused connection: it costs the service nothing."""

FAILED_REQUEST_DELAY_S, REJECTED_KEY_DELAY_S, MAX_DELAY_S = 10.0, 60.0, 60.0
"""Delay after a failed request that was sent, after a rejected key, and the limit of the growing delay."""

MAX_RETRY_AFTER_S = 3600.0
"""A longer pause that a service requests (`Retry-After`) is cut to this."""

JITTER_RATIO = 0.2

MAX_FAILURES = 3
"""A run that ends by itself (`--once`) stops waiting after this many consecutive failures."""


class CircuitBreaker:
    """The state of one service, as seen by the stages that need it.

    Attributes:
        service: Name of the service, as its errors give it.
        probe: Checks the service; None: the next job checks it.
        stages: Stages that failed with the service and wait while the breaker is open.
        is_open: True while requests to the service are held back.
    """

    def __init__(self, service: str, probe: Probe | None) -> None:
        self.service = service
        self.probe = probe
        self.stages: set[Stage] = set()
        self.is_open = False
        self._last_error: ServiceUnreachable | KeyRejected | None = None
        self._failures = 0
        self._openings = 0

    def open(self, error: ServiceUnreachable | KeyRejected) -> float:
        """Hold back requests. Return the seconds until the next probe.

        The pause doubles with each opening that no successful job has reset.
        """
        self.is_open = True
        self._openings += 1
        return self._delay_after(error, 2 ** min(self._openings - 1, 8))

    def probe_failed(self, error: ServiceUnreachable | KeyRejected) -> float:
        """Stay open. Return the seconds until the next probe."""
        return self._delay_after(error, 1)

    def close(self) -> bool:
        """Admit requests again. Return True if more than one failure was counted."""
        self.is_open = False
        return self._failures > 1

    def record_success(self) -> None:
        """Reset the failure counters after a job that succeeded."""
        self._failures = self._openings = 0

    @property
    def is_first_failure(self) -> bool:
        """Return True after the first failure since a success."""
        return self._failures == 1

    @property
    def has_given_up(self) -> bool:
        """Return True if a run that ends by itself must not wait for the service any longer."""
        return self.is_open and (self._failures >= MAX_FAILURES or isinstance(self._last_error, KeyRejected))

    def _delay_after(self, error: ServiceUnreachable | KeyRejected, factor: int) -> float:
        self._last_error = error
        self._failures += 1
        if isinstance(error, KeyRejected):
            delay_s = REJECTED_KEY_DELAY_S
        else:
            base_s = FAILED_REQUEST_DELAY_S if error.was_sent else UNSENT_REQUEST_DELAY_S
            delay_s = max(min(base_s * factor, MAX_DELAY_S), min(error.retry_after_s, MAX_RETRY_AFTER_S))
        return delay_s * (1 + JITTER_RATIO * random.random())  # noqa: S311 no secret
