"""Which jobs may begin now: the household goes first."""

from collections.abc import Callable
from typing import Literal

from fluxcaption.domain.jobs import Priority
from fluxcaption.pipeline.playback import PlaybackMonitor


class AdmissionPolicy:
    """Answers for each kind of work which tier may still begin.

    While somebody watches, `pause` leaves what was asked for and the very next episode, which goes on slowly; `slow` makes everything slow.
    """

    def __init__(
        self,
        while_playing: Literal["pause", "slow", "ignore"],
        playback: PlaybackMonitor,
        may_work: Callable[[], bool],
        may_listen: Callable[[], bool],
    ) -> None:
        self._while_playing = while_playing
        self._playback = playback
        self._may_work = may_work
        self._may_listen = may_listen

    def lowest_priority_for_delivery(self) -> Priority:
        """Uploads, confirms and translators elsewhere disturb nobody; only a pause by a person stops them."""
        return Priority.BACKLOG if self._may_work() else Priority.REQUESTED

    def lowest_priority_for_translation(self) -> Priority:
        """Translating on this machine."""
        if not self._may_work():
            return Priority.REQUESTED
        if self._while_playing == "pause" and self._playback.is_anyone_watching:
            return Priority.NEXT_EPISODE
        return Priority.BACKLOG

    def lowest_priority_for_acquisition(self) -> Priority:
        """Listening, which has quiet hours besides."""
        return self.lowest_priority_for_translation() if self._may_listen() else Priority.REQUESTED
