"""Media files by PyAV: their tracks, their sound as a stream, their embedded text; the library's only door.

Source of the options: libraries sheet, surprises 1 and 17; server contract 5.4: `file` or `http,https,tcp,tls`, never both.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from fluxcaption.domain.cues import Cue, SubtitleText
from fluxcaption.domain.errors import JobError, MediaUnreadable, ServiceUnreachable, SubtitleUnreadable
from fluxcaption.domain.language import normalise
from fluxcaption.domain.marks import is_drawing, plain
from fluxcaption.domain.media import TEXT_CODECS, AudioTrack, MediaIdentity, MediaLocation, SubtitleTrack
from fluxcaption.domain.units import SAMPLE_RATE_HZ, Ms
from fluxcaption.media.fingerprint import identify
from fluxcaption.ports import Samples

BLOCK_MS = 10_000
MOST_BAD_PACKETS = 200
"""A damaged file is heard around its damage; with more than this it is no use."""

MOST_CUES = 20_000
DISCARD_ALL = 48
"""AVDISCARD_ALL of FFmpeg."""

GAP_MS = 50
"""A hole in the sound's times longer than this is filled with silence, so that position stays time."""

SEEK_BACK_MS = 2_000
MOST_GAP_MS = 6 * 3_600_000
OPEN_TIMEOUT_S = 30.0
READ_TIMEOUT_S = 60.0
_COMMENTARY = ("commentary", "comentario", "kommentar", "commentaire", "audio description", "descriptive", "audiodescri", "hörfilm")


class MediaFiles:
    """Opens media by path or URL; every method blocks and belongs in a worker thread."""

    def probe(self, location: MediaLocation) -> tuple[Ms, tuple[AudioTrack, ...], tuple[SubtitleTrack, ...]]:
        """Duration and tracks of a file."""
        with _opened(location) as container:
            audio = tuple(_audio_track(ordinal, stream) for ordinal, stream in enumerate(container.streams.audio))
            subtitles = tuple(_subtitle_track(ordinal, stream) for ordinal, stream in enumerate(container.streams.subtitles))
            if not audio and not container.streams.video:
                raise MediaUnreadable(_name(location), "there is neither picture nor sound in it")
            return _duration_ms(container), audio, subtitles

    def identify(self, location: MediaLocation, duration_ms: Ms) -> MediaIdentity:
        """Name the file by size, duration and three ranged reads."""
        return identify(location, duration_ms)

    def blocks(self, location: MediaLocation, ordinal: int, start: Ms, stop: Ms | None = None) -> Iterator[tuple[Ms, Samples]]:
        """Decode one audio track as blocks of at most 10 s, each with its time on the film's clock."""
        with _opened(location) as container:
            if ordinal >= len(container.streams.audio):
                raise MediaUnreadable(_name(location), "it has no sound" if not container.streams.audio else f"it has no sound track {ordinal + 1}")
            yield from _blocks(container, container.streams.audio[ordinal], start, stop, _name(location))

    def text_track(self, location: MediaLocation, ordinal: int) -> SubtitleText:
        """Cut one embedded text track out of the media."""
        with _opened(location) as container:
            if ordinal >= len(container.streams.subtitles):
                raise SubtitleUnreadable(_name(location), f"it has no embedded subtitle track {ordinal + 1}")
            cues = _cues(container, container.streams.subtitles[ordinal], _name(location))
        if not cues:
            raise SubtitleUnreadable(_name(location), f"there is no text in its embedded track {ordinal + 1}")
        return SubtitleText("srt", tuple(cues))


@contextmanager
def _opened(location: MediaLocation) -> Iterator[Any]:
    import av
    from av.error import FFmpegError

    options = {"protocol_whitelist": "http,https,tcp,tls" if location.is_remote else "file"}
    if location.is_remote:
        headers = "".join(f"{name}: {value}\r\n" for name, value in location.headers)
        options |= {"headers": headers, "reconnect": "1", "reconnect_streamed": "1", "reconnect_delay_max": "30"}
        options |= {"rw_timeout": str(int(READ_TIMEOUT_S * 1e6)), "seekable": "1"}
    address = location.address if location.is_remote else f"file:{location.address}"
    try:
        with av.open(address, options=options, timeout=(OPEN_TIMEOUT_S, READ_TIMEOUT_S) if location.is_remote else None) as container:
            yield container
    except JobError:
        raise
    except (FFmpegError, OSError, EOFError) as error:
        raise _translated(location, error) from error


def _translated(location: MediaLocation, error: Exception) -> JobError:
    number = getattr(error, "errno", None)
    detail = (getattr(error, "strerror", None) or str(error)).splitlines()[0][:120]
    if location.is_remote and "nvalid data" not in detail:
        return ServiceUnreachable("the media stream", _name(location), detail)
    if number == errno.ENOENT:
        return MediaUnreadable(_name(location), "it is not there any more; is its disk mounted?")
    if number in {errno.EACCES, errno.EPERM}:
        return MediaUnreadable(_name(location), "it may not be read: give the daemon read access")
    return MediaUnreadable(_name(location), f"it is no media file, or damaged ({detail})")


def _name(location: MediaLocation) -> str:
    return location.address.split("?", 1)[0].rsplit("/", 1)[-1] if not location.is_remote else location.address.split("?", 1)[0]


def _duration_ms(container: Any) -> Ms:
    if container.duration:
        return Ms(int(container.duration // 1000))
    lengths = [stream.duration * stream.time_base for stream in container.streams if stream.duration and stream.time_base]
    return Ms(int(max(lengths, default=0) * 1000))


def _has(stream: Any, *names: str) -> bool:
    """Whether the stream carries a disposition, in any of PyAV's spellings."""
    disposition = getattr(stream, "disposition", None)
    if disposition is None:
        return False
    return any(bool(disposition & member) for member in (getattr(type(disposition), name, None) for name in names) if member is not None)


def _is_commentary(stream: Any, title: str) -> bool:
    return _has(stream, "comment", "visual_impaired", "descriptions") or any(word in title.lower() for word in _COMMENTARY)


def _read_only(container: Any, stream: Any) -> None:
    """Have everything but one stream skipped while reading, where this version of the library can."""
    for other in container.streams:
        if other is not stream:
            with suppress(ValueError, AttributeError):
                other.discard = DISCARD_ALL


def _audio_track(ordinal: int, stream: Any) -> AudioTrack:
    title = stream.metadata.get("title", "")
    return AudioTrack(
        ordinal=ordinal,
        language=normalise(stream.metadata.get("language")),
        title=title,
        codec=stream.codec_context.name if stream.codec_context else "",
        is_default=_has(stream, "default"),
        is_original=_has(stream, "original"),
        is_commentary=_is_commentary(stream, title),
    )


def _subtitle_track(ordinal: int, stream: Any) -> SubtitleTrack:
    title = stream.metadata.get("title", "")
    codec = stream.codec_context.name if stream.codec_context else ""
    return SubtitleTrack(
        handle=f"embedded:{ordinal}",
        language=normalise(stream.metadata.get("language")),
        codec=codec,
        title=title,
        ordinal=ordinal,
        is_forced=_has(stream, "forced") or "forced" in title.lower(),
        is_hearing_impaired=_has(stream, "hearing_impaired") or "sdh" in title.lower().split(),
        is_text=codec in TEXT_CODECS,
        is_commentary=_is_commentary(stream, title),
    )


def _blocks(container: Any, stream: Any, start: Ms, stop: Ms | None, name: str) -> Iterator[tuple[Ms, Samples]]:
    import av
    from av.error import FFmpegError

    _read_only(container, stream)
    # The film's clock begins where the container's does; players show it so.
    origin_s = (container.start_time or 0) / 1e6
    if start > 0:
        with suppress(FFmpegError):
            container.seek(int((origin_s + max(0, start - SEEK_BACK_MS) / 1000) * 1e6), backward=True)
    resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE_HZ)
    gathered = _Gatherer(start, stop)
    bad = good = 0
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except FFmpegError as error:
            bad += 1
            if bad > MOST_BAD_PACKETS:
                raise MediaUnreadable(name, "too much of its sound is damaged") from error
            continue
        for frame in frames:
            good += 1
            at_ms = None if frame.pts is None or frame.time_base is None else (float(frame.pts * frame.time_base) - origin_s) * 1000
            frame.pts = None
            for resampled in resampler.resample(frame):
                yield from gathered.add(at_ms, _flat(resampled))
                at_ms = None
            if gathered.is_over:
                return
    for resampled in resampler.resample(None):
        yield from gathered.add(None, _flat(resampled))
    yield from gathered.finish()
    if not good:
        raise MediaUnreadable(name, "nothing in its sound track can be decoded")


def _flat(frame: Any) -> Samples:
    return np.asarray(frame.to_ndarray(), dtype=np.float32).reshape(-1)


class _Gatherer:
    """Puts decoded pieces on the film's clock, fills holes with silence and gives blocks out."""

    def __init__(self, start: Ms, stop: Ms | None) -> None:
        self._per_ms = SAMPLE_RATE_HZ // 1000
        self._first = start * self._per_ms
        self._last = None if stop is None else stop * self._per_ms
        self._at: int | None = None
        self._pieces: list[Samples] = []
        self._length = 0
        self._given = self._first

    @property
    def is_over(self) -> bool:
        return self._last is not None and self._given + self._length >= self._last

    def add(self, at_ms: float | None, samples: Samples) -> Iterator[tuple[Ms, Samples]]:
        at = self._at if at_ms is None and self._at is not None else int((at_ms or 0) * self._per_ms)
        if self._at is not None and abs(at - self._at) <= GAP_MS * self._per_ms:
            at = self._at
        self._at = at + len(samples)
        expected = self._given + self._length
        if at < expected:
            samples = samples[expected - at :]
        elif at > expected:
            # A lying time stamp must not fill the memory with silence.
            missing = min(at - expected, MOST_GAP_MS * self._per_ms)
            while missing > 0:
                piece = min(missing, BLOCK_MS * self._per_ms)
                yield from self._take(np.zeros(piece, dtype=np.float32))
                missing -= piece
        if self._last is not None:
            samples = samples[: max(0, self._last - self._given - self._length)]
        yield from self._take(samples)

    def finish(self) -> Iterator[tuple[Ms, Samples]]:
        if self._length:
            yield self._block(self._length)

    def _take(self, samples: Samples) -> Iterator[tuple[Ms, Samples]]:
        if len(samples):
            self._pieces.append(samples)
            self._length += len(samples)
        while self._length >= BLOCK_MS * self._per_ms:
            yield self._block(BLOCK_MS * self._per_ms)

    def _block(self, length: int) -> tuple[Ms, Samples]:
        sound = np.concatenate(self._pieces)
        block, rest = sound[:length], sound[length:]
        at = Ms(self._given // self._per_ms)
        self._pieces, self._length = ([rest] if len(rest) else []), len(rest)
        self._given += length
        return at, block


def _cues(container: Any, stream: Any, name: str) -> list[Cue]:
    _read_only(container, stream)
    origin_s = (container.start_time or 0) / 1e6
    is_ass = stream.codec_context.name in {"ass", "ssa"}
    cues: list[Cue] = []
    for packet in container.demux(stream):
        if packet.pts is None or not packet.size:
            continue
        content = bytes(packet)
        if stream.codec_context.name == "mov_text":
            content = content[2 : 2 + int.from_bytes(content[:2], "big")]
        text = content.decode("utf-8", "replace")
        style = ""
        if is_ass:
            fields = text.split(",", 8)
            style, text = fields[2] if len(fields) == 9 else "", fields[-1]
        lines = () if is_ass and is_drawing(text) else tuple(line for line in plain(text).splitlines() if line.strip())
        start = Ms(int((float(packet.pts * packet.time_base) - origin_s) * 1000))
        end = Ms(start + int(float((packet.duration or 0) * packet.time_base) * 1000))
        if lines and end > start >= 0:
            cues.append(Cue(start, end, lines, len(cues), style))
        if len(cues) > MOST_CUES:
            raise SubtitleUnreadable(name, f"it has more than {MOST_CUES} cues")
    return sorted(cues, key=lambda cue: cue.start)
