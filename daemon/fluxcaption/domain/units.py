"""The plain values everything else is measured and named in."""

from typing import NewType

Ms = NewType("Ms", int)
"""Whole milliseconds, from the start of the media source unless the name says otherwise."""

ServerId = NewType("ServerId", str)
"""The identity a media server gives itself; every stored fact about an item carries it."""

ItemId = NewType("ItemId", str)
"""A film or an episode, in its server's own spelling (32 hex digits for Jellyfin)."""

SourceId = NewType("SourceId", str)
"""One media source: one file or version of an item."""

JobId = NewType("JobId", int)
UnitId = NewType("UnitId", str)
"""Names one piece of text or sound inside a batch; a reply is matched by it, never by position."""

ContentHash = NewType("ContentHash", str)
"""SHA-256 in hex."""

Fingerprint = NewType("Fingerprint", str)
"""Names the bytes of one media file, wherever it lies and whatever its id is."""
