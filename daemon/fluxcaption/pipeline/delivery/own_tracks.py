"""Recognition of our own tracks among all tracks of a media source, and of edits by users."""

import asyncio
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from fluxcaption.domain.cues import hash_cues
from fluxcaption.domain.deliveries import Delivery, DeliveryState
from fluxcaption.domain.errors import ReplyUnusable, SubtitleUnreadable
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.media import FinishedTrack, MediaSource, SubtitleTrack
from fluxcaption.domain.sources import NOTHING_KNOWN, KnownTracks, is_ours
from fluxcaption.domain.units import ContentHash, ItemId
from fluxcaption.ports.media_server import TrackReader
from fluxcaption.ports.subtitles import SubtitleCodec

OWN_FILE_NAME = "track.srt"
"""Name that tells the codec the format of the tracks we make."""

_FORMATTING = re.compile(rb"</?(?:i|b|u|font|c|v)[ >.]|\{\\", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ReadTrack:
    """A track with the bytes that were read from it."""

    track: SubtitleTrack
    content: bytes

    @property
    def file_name(self) -> str:
        """Return the name of the track's file."""
        return self.track.file_name

    @property
    def is_unlisted(self) -> bool:
        """Return True if the track was read from its folder and the server does not list it."""
        return self.track.handle == ""


class OwnTracks:
    """Finds, reads and compares the tracks that we delivered."""

    def __init__(self, server: TrackReader, codec: SubtitleCodec, marker: str) -> None:
        self._server = server
        self._codec = codec
        self._marker = marker

    def finished_track(self, target: LanguageTag, content: bytes) -> FinishedTrack:
        """Return a track of ours in its form for delivery."""
        return FinishedTrack(target, self._marker, "srt", content, hash_of(content))

    def find(
        self,
        source: MediaSource,
        target: LanguageTag,
        file_name: str,
        last_delivery: Delivery | None,
        known_tracks: KnownTracks = NOTHING_KNOWN,
    ) -> list[SubtitleTrack]:
        """Return the external tracks that belong to a delivery: by file name, by last path, or by content."""
        stem = _stem(file_name)
        last_path = last_delivery.track_path if last_delivery else ""
        return [
            track
            for track in source.subtitles
            if track.is_external
            and (
                _stem(track.file_name) == stem
                or (last_path != "" and track.path == last_path)
                or (is_ours(track, self._marker, known_tracks) and track.language == target)
            )
        ]

    async def read(self, item_id: ItemId, source: MediaSource, track: SubtitleTrack) -> bytes:
        """Return the bytes of a track that was just listed.

        Raises:
            ReplyUnusable: The track was renumbered or removed between two requests, or the server failed.
        """
        try:
            return await self._server.read_text_track(item_id, source, track)
        except SubtitleUnreadable as error:
            raise ReplyUnusable(str(error)) from error

    async def read_all(
        self, item_id: ItemId, source: MediaSource, tracks: Sequence[SubtitleTrack]
    ) -> list[ReadTrack]:
        """Return several tracks with their bytes, in the given order.

        Raises:
            ReplyUnusable: One of the tracks could not be read.
        """
        return [ReadTrack(track, await self.read(item_id, source, track)) for track in tracks]

    async def read_sidecar(self, source: MediaSource, name: str) -> bytes | None:
        """Return the bytes of a sidecar from its folder; None if the file or its folder is not reachable."""
        file = await self._server.sidecar_path(source, name)
        try:
            return None if file is None else await asyncio.to_thread(file.read_bytes)
        except OSError:
            return None

    async def sidecar_exists(self, source: MediaSource, name: str) -> bool | None:
        """Return True if a sidecar exists in its folder; None if the folder is not reachable."""
        file = await self._server.sidecar_path(source, name)
        return None if file is None else await asyncio.to_thread(file.is_file)

    async def was_edited(
        self, item_id: ItemId, source: MediaSource, own: ReadTrack, last_delivery: Delivery | None
    ) -> bool:
        """Return True if the content is not what was delivered.

        A listed track is read a second time before the conclusion: added and deleted files renumber the
        tracks between two requests, and the first answer may have been another track.
        """
        if last_delivery is None:
            return True
        if self.is_delivered(last_delivery, own.file_name, own.content):
            return False
        if own.is_unlisted:
            return True
        content = await self.read(item_id, source, own.track)
        return not self.is_delivered(last_delivery, own.file_name, content)

    def is_same(self, file_name: str, content: bytes, track: FinishedTrack) -> bool:
        """Return True if the content has the bytes or the cues of a track; servers may rewrite a file."""
        return hash_of(content) == track.content_hash or self.cues_hash(file_name, content) == self.cues_hash(
            OWN_FILE_NAME, track.content
        )

    def is_what_was_sent(self, delivery: Delivery, file_name: str, content: bytes) -> bool:
        """Return True if the content is what was sent last: the same bytes or cues, without formatting.

        Delivered tracks have no formatting, so formatting is the edit of a user.
        """
        if hash_of(content) == delivery.content_hash:
            return True
        has_formatting = _FORMATTING.search(content) is not None
        return (
            bool(delivery.cues_hash)
            and not has_formatting
            and self.cues_hash(file_name, content) == delivery.cues_hash
        )

    def is_delivered(self, delivery: Delivery, file_name: str, content: bytes) -> bool:
        """Return True if the content is what was sent last, or the track that it replaces.

        The replaced track still exists if the replacement was interrupted before its deletion.
        """
        return hash_of(content) == delivery.previous_ref or self.is_what_was_sent(
            delivery, file_name, content
        )

    @staticmethod
    def is_partial(last_delivery: Delivery | None, content: bytes, track: FinishedTrack) -> bool:
        """Return True if the content is the beginning of the same track.

        A server without free space leaves such a file behind. A confirmed track is never partial.
        """
        return (
            last_delivery is not None
            and last_delivery.state is DeliveryState.INTENDED
            and last_delivery.content_hash == track.content_hash
            and track.content.startswith(content)
        )

    def has_cues(self, content: bytes) -> bool:
        """Return True if the content has at least one cue."""
        try:
            return bool(self._codec.read(OWN_FILE_NAME, content).cues)
        except SubtitleUnreadable:
            return False

    def cues_hash(self, file_name: str, content: bytes) -> ContentHash:
        """Return the hash of the cues alone; of the bytes if they are no subtitle."""
        try:
            return hash_cues(self._codec.read(file_name, content))
        except SubtitleUnreadable:
            return hash_of(content)


def unlisted_sidecar(source: MediaSource, name: str) -> SubtitleTrack:
    """Return a track for a sidecar that the server does not list; only its path is valid."""
    return SubtitleTrack("", None, name.rsplit(".", 1)[-1], path=f"{source.folder}/{name}")


def hash_of(content: bytes) -> ContentHash:
    """Return the SHA-256 hash of the bytes."""
    return ContentHash(hashlib.sha256(content).hexdigest())


def _stem(file_name: str) -> str:
    return file_name.rsplit(".", 1)[0].lower()
