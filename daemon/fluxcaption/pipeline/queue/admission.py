"""Admission of jobs: the lowest priority that may start now, for each kind of work."""

from collections.abc import Callable
from typing import Literal

from fluxcaption.domain.jobs import Priority
from fluxcaption.pipeline.playback import PlaybackMonitor


class AdmissionPolicy:
    """The limits that a paused queue, quiet hours and playback set for new work.

    Requested jobs are always admitted. During playback, `pause` also admits the next episode, which is
    processed slowly; `slow` and `ignore` admit every job.

    Args:
        while_playing: The setting `schedule.while_playing`.
        playback: Source of the current playback state.
        may_work: False while a user has paused the queue.
        may_transcribe: False during the quiet hours of `schedule.pause`.
    """

    def __init__(
        self,
        while_playing: Literal["pause", "slow", "ignore"],
        playback: PlaybackMonitor,
        may_work: Callable[[], bool],
        may_transcribe: Callable[[], bool],
    ) -> None:
        self._while_playing = while_playing
        self._playback = playback
        self._may_work = may_work
        self._may_transcribe = may_transcribe

    def lowest_priority_for_delivery(self) -> Priority:
        """Return the limit for delivery and remote translation, which only a paused queue stops."""
        return Priority.BACKLOG if self._may_work() else Priority.REQUESTED

    def lowest_priority_for_translation(self) -> Priority:
        """Return the limit for translation on this machine."""
        if not self._may_work():
            return Priority.REQUESTED
        return Priority.NEXT_EPISODE if self._is_paused_by_playback() else Priority.BACKLOG

    def _is_paused_by_playback(self) -> bool:
        return self._while_playing == "pause" and self._playback.is_anything_playing

    def lowest_priority_for_acquisition(self) -> Priority:
        """Return the limit for the stage `acquire`, which quiet hours stop as well."""
        return self.lowest_priority_for_translation() if self._may_transcribe() else Priority.REQUESTED
