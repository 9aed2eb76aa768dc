"""Reason codes: stable words that the stages of the pipeline store with a job's reason.

`fluxcaption jobs --json`, the API and the database carry these values. A job that ended with an error
carries the `code` of its error class instead (`domain/errors.py`), and a job without a gap carries the value
of its `Action` (`domain/gaps.py`).
"""

from enum import StrEnum


class ReasonCode(StrEnum):
    """Stable word for the reason of an outcome or of a remembered skip."""

    # Queue
    CANCELLED = "cancelled"
    """A user cancelled the job."""
    PREEMPTED = "preempted"
    """The job was interrupted because of playback or a pause in the schedule."""
    POISON = "poison"
    """The process died repeatedly while it ran the job."""

    # Delivery: the job waits
    WAITING_FOR_LANGUAGES = "waiting-for-languages"
    """Another language of the same media source is finished soon; the tracks are delivered together."""
    WATCHED = "watched"
    """A viewer plays the item, or did a few minutes ago."""
    MEDIA_AWAY = "media-away"
    """The media file is not readable now."""
    WRITTEN = "written"
    """The server accepted an upload and stored nothing; the sidecar was written directly."""
    RESTORING = "put-back"
    """A new track never appeared; the track it replaced is being restored."""

    # Delivery: the job ended
    EMPTY_TRACK = "empty-track"
    """The finished track has no cues."""
    NOT_VISIBLE = "not-visible"
    """The server accepted a track and does not list it. The job waits, or failed if it restored a track."""
    REFUSED = "refused"
    """A user removed the delivered track earlier."""

    # Remembered skips
    REMOVED = "removed"
    """A user removed the delivered track."""
    UNDONE = "undone"
    """A user ran `undo`."""
