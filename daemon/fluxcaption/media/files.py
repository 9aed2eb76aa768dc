"""Media files by PyAV: their tracks, their sound as a stream, their embedded text; the library's only door.

Source of the options: libraries sheet, surprises 1 and 17: FFmpeg would open whatever a file names, so only `file` is allowed, or nothing.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np

from fluxcaption.domain.cues import Cue, SubtitleText
from fluxcaption.domain.errors import JobError, MediaUnreadable, SubtitleUnreadable
from fluxcaption.domain.language import normalize
from fluxcaption.domain.markup import is_drawing, strip_markup
from fluxcaption.domain.media import TEXT_CODECS, AudioTrack, MediaIdentity, SubtitleTrack
from fluxcaption.domain.track_titles import apply_title, is_commentary_title
from fluxcaption.domain.units import Ms
from fluxcaption.media.fingerprint import identify
from fluxcaption.media.remote import RemoteFile
from fluxcaption.ports.media import SAMPLE_RATE_HZ, MediaLocation, Samples

BLOCK_MS = 10_000
MAX_BAD_PACKETS = 200
"""A damaged file is heard around its damage; with more than this it is no use."""

MAX_CUES = 20_000
DISCARD_ALL = 48
"""AVDISCARD_ALL of FFmpeg."""

GAP_MS = 50
"""A hole in the sound's times longer than this is filled with silence, so that position stays time."""

SEEK_BACK_MS = 2_000
BACK_MS = 2_000
"""A time stamp further behind the sound so far means that its clock began anew."""

LATE_MS = 60_000
LONGEST_MS = 24 * 3_600_000
"""No sound lies so far behind the length that the file states, nor behind a day: a false time stamp makes the stated length false, too."""


class MediaFiles:
    """Opens media by path or URL; every method blocks and belongs in a worker thread."""

    def probe(self, location: MediaLocation) -> tuple[Ms, tuple[AudioTrack, ...], tuple[SubtitleTrack, ...]]:
        """Duration and tracks of a file."""
        with _opened(location) as container:
            audio = tuple(
                _audio_track(ordinal, stream) for ordinal, stream in enumerate(container.streams.audio)
            )
            subtitles = tuple(
                _subtitle_track(ordinal, stream) for ordinal, stream in enumerate(container.streams.subtitles)
            )
            if not audio and not container.streams.video:
                raise MediaUnreadable(_name(location), "there is neither picture nor sound in it")
            return _duration_ms(container), audio, subtitles

    def identify(self, location: MediaLocation, duration_ms: Ms) -> MediaIdentity:
        """Name the file by size, duration and three ranged reads."""
        return identify(location, duration_ms)

    def blocks(
        self, location: MediaLocation, ordinal: int, start: Ms, stop: Ms | None = None
    ) -> Iterator[tuple[Ms, Samples]]:
        """Decode one audio track as blocks of at most 10 s, each with its time on the film's clock."""
        with _opened(location) as container:
            if ordinal >= len(container.streams.audio):
                raise MediaUnreadable(
                    _name(location),
                    "it has no sound"
                    if not container.streams.audio
                    else f"it has no sound track {ordinal + 1}",
                )
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

    with RemoteFile(location) if location.is_remote else nullcontext() as remote:
        # What lies behind HTTP comes as bytes: nothing in it may name a file or address to be opened besides.
        options = {"protocol_whitelist": "file" if remote is None else "none"}
        try:
            # A pipe would keep us waiting for its writer for ever.
            if remote is None and (path := Path(location.address)).exists() and not path.is_file():
                raise MediaUnreadable(_name(location), "it is no regular file")
            with av.open(
                f"file:{location.address}" if remote is None else remote, options=options, **_odd_titles()
            ) as container:
                yield container
        except JobError:
            raise
        except (FFmpegError, OSError, EOFError) as error:
            raise (
                remote.failure if remote is not None and remote.failure else _translated(location, error)
            ) from error
        if remote is not None and remote.failure is not None:
            raise remote.failure


def _odd_titles() -> dict[str, Any]:
    """Have titles that are no UTF-8 read as they are, which PyAV does by itself from 19 on."""
    import av

    return {"metadata_errors": "surrogateescape"} if int(av.__version__.split(".")[0]) < 19 else {}


def _title(stream: Any) -> str:
    return str(stream.metadata.get("title", "")).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _translated(location: MediaLocation, error: Exception) -> JobError:
    number = getattr(error, "errno", None)
    with suppress(OSError):
        if not location.is_remote and os.stat(location.address).st_size == 0:
            return MediaUnreadable(_name(location), "it is empty: copy it again")
    detail = (getattr(error, "strerror", None) or str(error)).splitlines()[0][:120]
    if number == errno.ENOENT:
        return MediaUnreadable(_name(location), "it is not there any more; is its disk mounted?")
    if number in {errno.EACCES, errno.EPERM}:
        return MediaUnreadable(_name(location), "it may not be read: give the daemon read access")
    return MediaUnreadable(
        _name(location),
        f"it is no media file, or damaged ({detail}): copy it again, or keep it out of the library",
    )


def _name(location: MediaLocation) -> str:
    return (
        location.address.split("?", 1)[0].rsplit("/", 1)[-1]
        if not location.is_remote
        else location.address.split("?", 1)[0]
    )


def _duration_ms(container: Any) -> Ms:
    if container.duration:
        return Ms(int(container.duration // 1000))
    lengths = [
        stream.duration * stream.time_base
        for stream in container.streams
        if stream.duration and stream.time_base
    ]
    return Ms(int(max(lengths, default=0) * 1000))


def _has(stream: Any, *names: str) -> bool:
    """Whether the stream carries a disposition, in any of PyAV's spellings."""
    disposition = getattr(stream, "disposition", None)
    if disposition is None:
        return False
    return any(
        bool(disposition & member)
        for member in (getattr(type(disposition), name, None) for name in names)
        if member is not None
    )


def _is_commentary(stream: Any) -> bool:
    return _has(stream, "comment", "visual_impaired", "descriptions")


def _read_only(container: Any, stream: Any) -> None:
    """Have everything but one stream skipped while reading, where this version of the library can."""
    for other in container.streams:
        if other is not stream:
            with suppress(ValueError, AttributeError):
                other.discard = DISCARD_ALL


def _audio_track(ordinal: int, stream: Any) -> AudioTrack:
    title = _title(stream)
    return AudioTrack(
        ordinal=ordinal,
        language=normalize(stream.metadata.get("language")),
        title=title,
        codec=stream.codec_context.name if stream.codec_context else "",
        is_default=_has(stream, "default"),
        is_original=_has(stream, "original"),
        is_commentary=_is_commentary(stream) or is_commentary_title(title),
    )


def _subtitle_track(ordinal: int, stream: Any) -> SubtitleTrack:
    codec = stream.codec_context.name if stream.codec_context else ""
    return apply_title(
        SubtitleTrack(
            handle=f"embedded:{ordinal}",
            language=normalize(stream.metadata.get("language")),
            codec=codec,
            title=_title(stream),
            ordinal=ordinal,
            is_forced=_has(stream, "forced"),
            is_hearing_impaired=_has(stream, "hearing_impaired"),
            is_text=codec in TEXT_CODECS,
            is_commentary=_is_commentary(stream),
        )
    )


def _blocks(
    container: Any, stream: Any, start: Ms, stop: Ms | None, name: str
) -> Iterator[tuple[Ms, Samples]]:
    import av
    from av.error import FFmpegError

    _read_only(container, stream)
    # The film's clock begins where the container's does; players show it so.
    origin_s = (container.start_time or 0) / 1e6
    if start > 0:
        with suppress(FFmpegError):
            container.seek(int((origin_s + max(0, start - SEEK_BACK_MS) / 1000) * 1e6), backward=True)
    resampler: Any = None
    form: object = None
    gathered = _Gatherer(start, stop, _duration_ms(container))
    bad = good = 0
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except FFmpegError as error:
            bad += 1
            if bad > MAX_BAD_PACKETS:
                raise MediaUnreadable(name, "too much of its sound is damaged") from error
            continue
        for frame in frames:
            good += 1
            at_ms = (
                None
                if frame.pts is None or frame.time_base is None
                else (float(frame.pts * frame.time_base) - origin_s) * 1000
            )
            frame.pts = None
            if form != (form := (frame.format.name, frame.layout.name, frame.sample_rate)):
                # Broadcasts change from stereo to mono and back; a resampler takes only what it began with.
                yield from _rest(resampler, gathered)
                resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE_HZ)
            for resampled in resampler.resample(frame):
                yield from gathered.add(at_ms, _flat(resampled))
                at_ms = None
            if gathered.is_over:
                return
    yield from _rest(resampler, gathered)
    yield from gathered.finish()
    if not good:
        raise MediaUnreadable(name, "nothing in its sound track can be decoded")


def _rest(resampler: Any, gathered: "_Gatherer") -> Iterator[tuple[Ms, Samples]]:
    for resampled in resampler.resample(None) if resampler is not None else ():
        yield from gathered.add(None, _flat(resampled))


def _flat(frame: Any) -> Samples:
    return np.asarray(frame.to_ndarray(), dtype=np.float32).reshape(-1)


class _Gatherer:
    """Puts decoded pieces on the film's clock, fills holes with silence and gives blocks out.

    Time stamps that jump (a joined recording, a broadcast whose clock began anew) are not believed: the sound goes on where it was.
    """

    def __init__(self, start: Ms, stop: Ms | None, duration_ms: Ms) -> None:
        self._per_ms = SAMPLE_RATE_HZ // 1000
        self._first = start * self._per_ms
        self._last = None if stop is None else stop * self._per_ms
        self._longest = min(duration_ms + LATE_MS if duration_ms else LONGEST_MS, LONGEST_MS) * self._per_ms
        self._at: int | None = None
        self._shift = 0
        self._pieces: list[Samples] = []
        self._length = 0
        self._given = self._first

    @property
    def is_over(self) -> bool:
        return self._last is not None and self._given + self._length >= self._last

    def add(self, at_ms: float | None, samples: Samples) -> Iterator[tuple[Ms, Samples]]:
        at = self._place(at_ms)
        self._at = at + len(samples)
        expected = self._given + self._length
        if at < expected:
            samples = samples[expected - at :]
        else:
            missing = at - expected
            while missing > 0:
                piece = min(missing, BLOCK_MS * self._per_ms)
                yield from self._take(np.zeros(piece, dtype=np.float32))
                missing -= piece
        if self._last is not None:
            samples = samples[: max(0, self._last - self._given - self._length)]
        yield from self._take(samples)

    def _place(self, at_ms: float | None) -> int:
        """Where a piece lies, in samples on the film's clock."""
        if at_ms is None:
            return self._at or 0
        at = int(at_ms * self._per_ms) + self._shift
        if self._at is None and at <= self._longest:
            return at
        if self._at is None:
            self._at = self._first
        if abs(at - self._at) <= GAP_MS * self._per_ms:
            return self._at
        if at < self._at - BACK_MS * self._per_ms or at > self._longest:
            self._shift += self._at - at
            return self._at
        return at

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
        lines = (
            ()
            if is_ass and is_drawing(text)
            else tuple(line for line in strip_markup(text).splitlines() if line.strip())
        )
        start = Ms(int((float(packet.pts * packet.time_base) - origin_s) * 1000))
        end = Ms(start + int(float((packet.duration or 0) * packet.time_base) * 1000))
        if lines and end > start >= 0:
            cues.append(Cue(start, end, lines, len(cues), style))
        if len(cues) > MAX_CUES:
            raise SubtitleUnreadable(name, f"it has more than {MAX_CUES} cues")
    return sorted(cues, key=lambda cue: cue.start)
