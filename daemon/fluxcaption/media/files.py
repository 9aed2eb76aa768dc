"""Media files by PyAV: their tracks, their audio as a stream and their embedded text."""

from collections.abc import Iterator
from typing import Any

from fluxcaption.domain.cues import SubtitleText
from fluxcaption.domain.errors import MediaUnreadable, SubtitleUnreadable
from fluxcaption.domain.language import normalize
from fluxcaption.domain.media import TEXT_CODECS, AudioTrack, MediaIdentity, SubtitleTrack
from fluxcaption.domain.track_titles import apply_title, is_commentary_title
from fluxcaption.domain.units import Ms
from fluxcaption.media.audio import decode_blocks
from fluxcaption.media.container import display_name, duration_ms, open_container
from fluxcaption.media.embedded_text import read_cues
from fluxcaption.media.fingerprint import identify
from fluxcaption.ports.media import MediaLocation, Samples


class MediaFiles:
    """MediaReader over PyAV, for paths and URLs; every method blocks and is called in a worker thread."""

    def probe(self, location: MediaLocation) -> tuple[Ms, tuple[AudioTrack, ...], tuple[SubtitleTrack, ...]]:
        """Return the duration in ms, the audio tracks and the subtitle tracks of a media file."""
        with open_container(location) as container:
            audio = tuple(
                _audio_track(ordinal, stream) for ordinal, stream in enumerate(container.streams.audio)
            )
            subtitles = tuple(
                _subtitle_track(ordinal, stream) for ordinal, stream in enumerate(container.streams.subtitles)
            )
            if not audio and not container.streams.video:
                raise MediaUnreadable(display_name(location), "it has neither a video nor an audio track")
            return duration_ms(container), audio, subtitles

    def identify(self, location: MediaLocation, duration_ms: Ms) -> MediaIdentity:
        """Return the fingerprint of a media file from its size, its duration and three ranged reads."""
        return identify(location, duration_ms)

    def blocks(
        self, location: MediaLocation, ordinal: int, start: Ms, stop: Ms | None = None
    ) -> Iterator[tuple[Ms, Samples]]:
        """Decode one audio track from `start` to `stop` as blocks of at most 10 s, each with its position."""
        with open_container(location) as container:
            tracks, name = container.streams.audio, display_name(location)
            if ordinal >= len(tracks):
                number = f" {ordinal + 1}" if tracks else ""
                raise MediaUnreadable(name, f"it has no audio track{number}")
            yield from decode_blocks(container, tracks[ordinal], start, stop, name)

    def text_track(self, location: MediaLocation, ordinal: int) -> SubtitleText:
        """Return the cues of one embedded text track."""
        with open_container(location) as container:
            tracks, name = container.streams.subtitles, display_name(location)
            if ordinal >= len(tracks):
                raise SubtitleUnreadable(name, f"it has no embedded subtitle track {ordinal + 1}")
            cues = read_cues(container, tracks[ordinal], name)
        if not cues:
            raise SubtitleUnreadable(name, f"its embedded subtitle track {ordinal + 1} has no text")
        return SubtitleText("srt", tuple(cues))


def _audio_track(ordinal: int, stream: Any) -> AudioTrack:
    title = _title_of(stream)
    return AudioTrack(
        ordinal=ordinal,
        language=normalize(stream.metadata.get("language")),
        title=title,
        codec=_codec_of(stream),
        is_default=_has_disposition(stream, "default"),
        is_original=_has_disposition(stream, "original"),
        is_commentary=_is_commentary(stream) or is_commentary_title(title),
    )


def _subtitle_track(ordinal: int, stream: Any) -> SubtitleTrack:
    codec = _codec_of(stream)
    return apply_title(
        SubtitleTrack(
            handle=f"embedded:{ordinal}",
            language=normalize(stream.metadata.get("language")),
            codec=codec,
            title=_title_of(stream),
            ordinal=ordinal,
            is_forced=_has_disposition(stream, "forced"),
            is_hearing_impaired=_has_disposition(stream, "hearing_impaired"),
            is_text=codec in TEXT_CODECS,
            is_commentary=_is_commentary(stream),
        )
    )


def _title_of(stream: Any) -> str:
    """Return the title; bytes that are not UTF-8 become U+FFFD."""
    return str(stream.metadata.get("title", "")).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _codec_of(stream: Any) -> str:
    return stream.codec_context.name if stream.codec_context else ""


def _is_commentary(stream: Any) -> bool:
    return _has_disposition(stream, "comment", "visual_impaired", "descriptions")


def _has_disposition(stream: Any, *names: str) -> bool:
    """Return True if the stream has one of the dispositions; versions of PyAV name them differently."""
    disposition = getattr(stream, "disposition", None)
    if disposition is None:
        return False
    flags = (getattr(type(disposition), name, None) for name in names)
    return any(bool(disposition & flag) for flag in flags if flag is not None)
