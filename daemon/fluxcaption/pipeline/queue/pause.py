"""The user's pause of the whole queue, stored so that it survives a restart.

Pauses during playback and quiet hours are in `admission.py`.
"""

from fluxcaption.ports.storage import StateValues

STATE_KEY = "paused"


class QueuePause:
    """The pause that `fluxcaption jobs pause` and `resume` switch; manual requests run regardless."""

    def __init__(self, state_values: StateValues) -> None:
        self._state_values = state_values
        self.is_active = False

    async def restore(self) -> None:
        """Read the stored pause; without this call the queue is not paused."""
        self.is_active = await self._state_values.get(STATE_KEY) == "yes"

    async def set(self, is_active: bool) -> None:
        """Store the pause and apply it to the next claim."""
        await self._state_values.set(STATE_KEY, "yes" if is_active else "no")
        self.is_active = is_active

    def allows_work(self) -> bool:
        """Return True unless the queue is paused."""
        return not self.is_active
