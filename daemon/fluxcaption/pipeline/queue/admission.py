"""Which jobs may begin now: the household goes first."""

from collections.abc import Callable
from typing import Literal

from fluxcaption.domain.jobs import Tier
from fluxcaption.pipeline.playback import Watcher


class Manners:
    """Answers for each kind of work which tier may still begin.

    While somebody watches, `pause` leaves what was asked for and the very next episode, which goes on slowly; `slow` makes everything slow.
    """

    def __init__(
        self,
        while_playing: Literal["pause", "slow", "ignore"],
        watcher: Watcher,
        may_work: Callable[[], bool],
        may_listen: Callable[[], bool],
    ) -> None:
        self._while_playing = while_playing
        self._watcher = watcher
        self._may_work = may_work
        self._may_listen = may_listen

    def for_delivery(self) -> Tier:
        """Uploads, confirms and translators elsewhere disturb nobody; only a pause by a person stops them."""
        return Tier.BACKLOG if self._may_work() else Tier.ASKED

    def for_translation(self) -> Tier:
        """Translating on this machine."""
        if not self._may_work():
            return Tier.ASKED
        if self._while_playing == "pause" and self._watcher.somebody_watches:
            return Tier.NEXT
        return Tier.BACKLOG

    def for_listening(self) -> Tier:
        """Listening, which has quiet hours besides."""
        return self.for_translation() if self._may_listen() else Tier.ASKED
