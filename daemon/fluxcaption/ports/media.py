"""Media files: probing, decoding and fingerprinting."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fluxcaption.domain.cues import SubtitleText
from fluxcaption.domain.media import AudioTrack, MediaIdentity, SubtitleTrack
from fluxcaption.domain.units import Ms

SAMPLE_RATE_HZ = 16_000
"""What the recogniser listens at; every sound block inside the daemon is mono at this rate."""


Samples = npt.NDArray[np.float32]
"""Mono sound at 16 kHz, -1 to 1."""


@dataclass(frozen=True, slots=True)
class MediaLocation:
    """Where the bytes of a media source can be read.

    Attributes:
        address: A local path or an http(s) URL.
        headers: Sent with every request for a URL; hold secrets and are hidden from repr.
        verify: Whether the certificate of a URL is checked, or the file of the authority that it is checked by.
    """

    address: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    verify: bool | str = True

    @property
    def is_remote(self) -> bool:
        """Whether the bytes come over HTTP."""
        return self.address.startswith(("http://", "https://"))


class MediaReader(Protocol):
    """Opens media files; blocking, called from worker threads only."""

    def probe(self, location: MediaLocation) -> tuple[Ms, tuple[AudioTrack, ...], tuple[SubtitleTrack, ...]]:
        """Duration and tracks of a file.

        Raises:
            MediaUnreadable: It is not media.
        """

    def identify(self, location: MediaLocation, duration_ms: Ms) -> MediaIdentity:
        """Name the file by size, duration and three ranged reads."""

    def blocks(
        self, location: MediaLocation, ordinal: int, start: Ms, stop: Ms | None = None
    ) -> Iterator[tuple[Ms, Samples]]:
        """Decode one audio track from `start` to `stop` as blocks of at most 10 s, each with its time on the film's clock.

        The whole film is never in memory. Closing the iterator closes the file.

        Raises:
            MediaUnreadable: There is no such track, or nothing in it can be decoded.
        """

    def text_track(self, location: MediaLocation, ordinal: int) -> SubtitleText:
        """Cut one embedded text track out of the media.

        Raises:
            SubtitleUnreadable: There is no text in it.
        """


class SoundSketcher(Protocol):
    """Tells a sound from another by how loud six stretches of it are; blocking."""

    def sketch(self, location: MediaLocation, ordinal: int, duration_ms: Ms) -> bytes:
        """What six stretches of 10 s look like."""

    def is_same(self, first: bytes, second: bytes) -> bool:
        """Whether two sketches are of one sound, however it is packed."""
