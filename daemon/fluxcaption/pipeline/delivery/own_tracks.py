"""Telling our own tracks from everybody else's, and whether somebody worked on them."""

import hashlib
import re

from fluxcaption.domain.cues import hash_cues
from fluxcaption.domain.deliveries import Delivery
from fluxcaption.domain.errors import ReplyUnusable, SubtitleUnreadable
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.media import FinishedTrack, MediaSource, SubtitleTrack
from fluxcaption.domain.sources import NOTHING_KNOWN, KnownTracks, is_ours
from fluxcaption.domain.units import ContentHash, ItemId
from fluxcaption.ports.media_server import MediaServer
from fluxcaption.ports.subtitles import SubtitleCodec

_FORMATTING = re.compile(rb"</?(?:i|b|u|font|c|v)[ >.]|\{\\", re.IGNORECASE)


class OwnTracks:
    """Finds and reads what we delivered."""

    def __init__(self, server: MediaServer, codec: SubtitleCodec, marker: str) -> None:
        self._server = server
        self._codec = codec
        self._marker = marker

    def among(
        self,
        source: MediaSource,
        target: LanguageTag,
        file_name: str,
        known: Delivery | None,
        read: KnownTracks = NOTHING_KNOWN,
    ) -> list[SubtitleTrack]:
        """External tracks that are this delivery: by the name we give, by where it was seen, or by what is in it."""
        stem = _stem(file_name)
        seen_at = known.track_path if known else ""
        return [
            track
            for track in source.subtitles
            if track.is_external
            and (
                _stem(track.file_name) == stem
                or (seen_at != "" and track.path == seen_at)
                or (is_ours(track, self._marker, read) and track.language == target)
            )
        ]

    async def read(self, item_id: ItemId, source: MediaSource, track: SubtitleTrack) -> bytes:
        """The bytes of a track that was listed a moment ago."""
        try:
            return await self._server.read_text_track(item_id, source, track)
        except SubtitleUnreadable as error:
            # It was renumbered or removed between two requests, or the server stumbled.
            raise ReplyUnusable(str(error)) from error

    async def was_edited(
        self, item_id: ItemId, source: MediaSource, track: SubtitleTrack, known: Delivery | None, seen: bytes
    ) -> bool:
        """Whether somebody worked on it; read twice, since files that come and go renumber the tracks between two requests."""
        if known is None:
            return True
        name = track.file_name
        return not self.is_delivered(known, name, seen) and not self.is_delivered(
            known, name, await self.read(item_id, source, track)
        )

    def is_same(self, name: str, seen: bytes, track: FinishedTrack) -> bool:
        """Whether these bytes are that track: a server may write the file again in its own way; the cues tell."""
        return hash_of(seen) == track.content_hash or self.cues_hash(name, seen) == self.cues_hash(
            "ours.srt", track.content
        )

    def is_what_was_sent(self, known: Delivery, name: str, seen: bytes) -> bool:
        """Whether these bytes are what was sent last: the same, or the same cues without formatting, since we write none and a person may."""
        is_default = _FORMATTING.search(seen) is None
        return hash_of(seen) == known.content_hash or (
            bool(known.cues_hash) and is_default and self.cues_hash(name, seen) == known.cues_hash
        )

    def is_delivered(self, known: Delivery, name: str, seen: bytes) -> bool:
        """The same, or what it replaces: that still lies there when a replacement was broken off before the deletion."""
        return hash_of(seen) == known.previous_ref or self.is_what_was_sent(known, name, seen)

    def has_cues(self, content: bytes) -> bool:
        """Whether a viewer would see anything of it."""
        try:
            return bool(self._codec.read("ours.srt", content).cues)
        except SubtitleUnreadable:
            return False

    def cues_hash(self, name: str, content: bytes) -> ContentHash:
        """Over the cues alone; over the bytes where there are none."""
        try:
            return hash_cues(self._codec.read(name, content))
        except SubtitleUnreadable:
            return hash_of(content)


def hash_of(content: bytes) -> ContentHash:
    """Names these very bytes."""
    return ContentHash(hashlib.sha256(content).hexdigest())


def _stem(file_name: str) -> str:
    return file_name.rsplit(".", 1)[0].lower()
