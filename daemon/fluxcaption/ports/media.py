"""Media files: probing, decoding and fingerprinting."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

from fluxcaption.domain.cues import SubtitleText
from fluxcaption.domain.media import AudioTrack, MediaIdentity, SubtitleTrack
from fluxcaption.domain.units import Ms

if TYPE_CHECKING:
    # An idle daemon must not load numpy (about 10 MB).
    import numpy as np
    import numpy.typing as npt

SAMPLE_RATE_HZ = 16_000
"""Sample rate of all decoded audio; Whisper models are trained on it."""

Samples: TypeAlias = "npt.NDArray[np.float32]"
"""Mono audio at `SAMPLE_RATE_HZ`, shape (n,), -1 to 1."""


@dataclass(frozen=True, slots=True)
class MediaLocation:
    """Address of the bytes of a media source.

    Attributes:
        address: A local path or an http(s) URL.
        headers: Sent with every request for a URL; contain secrets and are hidden from repr.
        verify: True to verify the certificate of a URL against the system's authorities, False to accept any
            certificate, or the path of a file with the authorities to verify against.
    """

    address: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    verify: bool | str = True

    @property
    def is_remote(self) -> bool:
        """Return True if the bytes come over HTTP."""
        return self.address.startswith(("http://", "https://"))


class MediaReader(Protocol):
    """Reader of media files; blocking, called from worker threads only.

    All methods raise ServiceUnreachable or KeyRejected if the server of a URL does not deliver.
    """

    def probe(self, location: MediaLocation) -> tuple[Ms, tuple[AudioTrack, ...], tuple[SubtitleTrack, ...]]:
        """Return the duration in ms, the audio tracks and the subtitle tracks of a media file.

        Raises:
            MediaUnreadable: The file is missing, not readable, or not media.
        """

    def identify(self, location: MediaLocation, duration_ms: Ms) -> MediaIdentity:
        """Return the fingerprint of a media file from its size, its duration and three ranged reads.

        Raises:
            MediaUnreadable: The file is missing, not readable, or empty.
        """

    def blocks(
        self, location: MediaLocation, ordinal: int, start: Ms, stop: Ms | None = None
    ) -> Iterator[tuple[Ms, Samples]]:
        """Decode one audio track from `start` to `stop` as blocks of at most 10 s, each with its position.

        Positions are ms from the start of the media source. Blocks are contiguous; gaps in the audio are
        filled with silence. At most a few blocks are in memory. Closing the iterator closes the file.

        Raises:
            MediaUnreadable: There is no such track, or nothing in it can be decoded.
        """

    def text_track(self, location: MediaLocation, ordinal: int) -> SubtitleText:
        """Return the cues of one embedded text track.

        Raises:
            SubtitleUnreadable: There is no such track, or it has no text.
        """


class SoundSketcher(Protocol):
    """Recognition of the same audio in different files, by short loudness profiles; blocking."""

    def sketch(self, location: MediaLocation, ordinal: int, duration_ms: Ms) -> bytes:
        """Return the loudness profile of six excerpts of 10 s of one audio track."""

    def is_same(self, first: bytes, second: bytes) -> bool:
        """Return True if two sketches come from the same audio, independent of container and codec."""
