"""Protocols of the stored state, one for each subject.

Every writing method is a transaction of its own, and its change survives the end of the process. The change
of a method marked "Durable: returns after fsync" also survives a loss of power; changes of other methods in
the last seconds before it may be lost. A cancelled caller does not interrupt its transaction.

Every writing method may raise DiskLow, and every method StateError if the database is damaged or unreadable.
"""

from typing import Protocol

from fluxcaption.ports.storage.deliveries import Deliveries, History, Skips
from fluxcaption.ports.storage.jobs import Backlog, JobQueue, Jobs
from fluxcaption.ports.storage.library import EventInbox, ItemIndex, ItemRecord, PlaybackLog
from fluxcaption.ports.storage.media import (
    Documents,
    MediaIdentities,
    TrackFact,
    TrackFacts,
    Transcripts,
    Translations,
)
from fluxcaption.ports.storage.values import Maintenance, Speeds, StateValues

__all__ = [
    "Backlog",
    "Deliveries",
    "Documents",
    "EventInbox",
    "History",
    "ItemIndex",
    "ItemRecord",
    "JobQueue",
    "Jobs",
    "Maintenance",
    "MediaIdentities",
    "PlaybackLog",
    "Skips",
    "Speeds",
    "StateValues",
    "Storage",
    "TrackFact",
    "TrackFacts",
    "Transcripts",
    "Translations",
]


class Storage(Protocol):
    """The state of the daemon, by subject; for composition roots only."""

    @property
    def jobs(self) -> Jobs:
        """Jobs by id, item and media source."""

    @property
    def queue(self) -> JobQueue:
        """Jobs as the worker pool claims and ends them."""

    @property
    def backlog(self) -> Backlog:
        """Held jobs of the existing library."""

    @property
    def events(self) -> EventInbox:
        """Webhook events that are not processed yet."""

    @property
    def items(self) -> ItemIndex:
        """Items as the last scan read them."""

    @property
    def playback(self) -> PlaybackLog:
        """Latest playback time of each item."""

    @property
    def tracks(self) -> TrackFacts:
        """Facts read from text tracks, and samples of speech in audio tracks."""

    @property
    def identities(self) -> MediaIdentities:
        """Fingerprints of media files."""

    @property
    def transcripts(self) -> Transcripts:
        """Transcripts and sketches of sounds."""

    @property
    def translations(self) -> Translations:
        """Translations by source text."""

    @property
    def documents(self) -> Documents:
        """Documents by the hash of their bytes."""

    @property
    def deliveries(self) -> Deliveries:
        """Deliveries: one for each server, media source and target."""

    @property
    def skips(self) -> Skips:
        """Decisions to make nothing."""

    @property
    def history(self) -> History:
        """History of media sources over several subjects."""

    @property
    def state_values(self) -> StateValues:
        """Small named values of the daemon."""

    @property
    def speeds(self) -> Speeds:
        """Measured processing speeds by activity."""

    @property
    def maintenance(self) -> Maintenance:
        """Clean-up over several subjects."""
