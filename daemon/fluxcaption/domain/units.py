"""Types for plain values: times, ids and hashes."""

from typing import NewType

Ms = NewType("Ms", int)
"""Whole milliseconds, from the start of the media source unless the name says otherwise."""

ServerId = NewType("ServerId", str)
"""Identity that a media server reports for itself; part of every stored fact about an item."""

ItemId = NewType("ItemId", str)
"""Id of an item in the spelling of its server (32 hex digits for Jellyfin)."""

SourceId = NewType("SourceId", str)
"""Id of a media source: one file or version of an item."""

JobId = NewType("JobId", int)
"""Row id of a job."""

UnitId = NewType("UnitId", str)
"""Id of one piece of text or audio in a batch; replies are matched by id, never by position."""

ContentHash = NewType("ContentHash", str)
"""SHA-256 in hex."""

Fingerprint = NewType("Fingerprint", str)
"""Identity of the bytes of one media file, independent of its path and id."""
