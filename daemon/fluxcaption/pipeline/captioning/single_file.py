"""Captions and translations of single files, as the commands `caption MEDIA` and `translate` make them.

Uses the same track builder as the daemon, without its queue and without a media server.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from fluxcaption.domain.errors import NoUsableSource, SubtitleUnreadable, UsageError
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.media import FinishedTrack, Item, ItemKind, MediaIdentity, MediaSource
from fluxcaption.domain.shaping import distribute_lines
from fluxcaption.domain.sidecars import read_sidecar_name
from fluxcaption.domain.sources import FromText, NoSource, choose_source
from fluxcaption.domain.units import ContentHash, ItemId, ServerId, SourceId
from fluxcaption.pipeline.captioning.source_text import SourceText
from fluxcaption.pipeline.captioning.track_builder import TrackBuilder
from fluxcaption.pipeline.captioning.transcriber import Progress
from fluxcaption.pipeline.planner import Planner
from fluxcaption.ports.clock import Clock
from fluxcaption.ports.files import FileWriter
from fluxcaption.ports.media import MediaLocation, MediaReader
from fluxcaption.ports.subtitles import MAX_SUBTITLE_BYTES, SubtitleCodec

SERVER_ID = ServerId("files")
"""Stands for the server of items that belong to no library."""

WRITABLE_FORMATS = frozenset({"srt", "vtt", "ass", "ssa"})
"""Formats that a translation keeps; others become SubRip."""


@dataclass(frozen=True, slots=True)
class SingleFileDeps:
    """Everything the single-file captioner uses."""

    track_builder: TrackBuilder
    planner: Planner
    media: MediaReader
    codec: SubtitleCodec
    write: FileWriter
    clock: Clock


@dataclass(frozen=True, slots=True)
class _MediaFile:
    """One media file with its identity, in the form of an item of a library."""

    item: Item
    source: MediaSource
    identity: MediaIdentity
    location: MediaLocation


class SingleFileCaptioner:
    """Captions media files and translates subtitle files."""

    def __init__(self, deps: SingleFileDeps) -> None:
        self._deps = deps

    async def caption(
        self,
        path: Path,
        target: LanguageTag,
        spoken: LanguageTag | None,
        output: Path | None,
        progress: Progress | None,
    ) -> str:
        """Make one track for a media file.

        Args:
            path: The media file.
            target: Target language.
            spoken: Original language of the media, if the user names it.
            output: Folder for the track; None: beside the media.
            progress: Called while an audio track is transcribed.

        Returns:
            The name of the written file and its provenance, in one line.

        Raises:
            MediaUnreadable: The file is not a media file.
            NoUsableSource: The file has no usable text or audio track.
        """
        media = await self._open(path, spoken)
        text = await self._source_text(media, target, progress)
        cues, provenance = await self._deps.track_builder.build_cues(text, target)
        content = self._deps.codec.write_srt(cues)
        file_name = await self._write(output or path.parent, media.source.stem, target, "srt", content)
        return f"{file_name}, {provenance}, {len(cues)} cues"

    async def _open(self, path: Path, spoken: LanguageTag | None) -> _MediaFile:
        deps = self._deps
        location = MediaLocation(str(path.absolute()))
        duration_ms, audio, subtitles = await asyncio.to_thread(deps.media.probe, location)
        identity = await asyncio.to_thread(deps.media.identify, location, duration_ms)
        source = MediaSource(
            SourceId(identity.fingerprint),
            str(path.absolute()),
            identity.size_bytes,
            duration_ms,
            identity.fingerprint,
            audio,
            subtitles,
        )
        item = Item(
            SERVER_ID,
            ItemId(identity.fingerprint),
            path.name,
            ItemKind.VIDEO,
            "",
            "",
            deps.clock.now(),
            (source,),
            spoken,
        )
        return _MediaFile(item, source, identity, location)

    async def _source_text(
        self, media: _MediaFile, target: LanguageTag, progress: Progress | None
    ) -> SourceText:
        planner, track_builder = self._deps.planner, self._deps.track_builder
        choice = choose_source(
            media.item, media.source, target, planner.translator_rank, planner.policy.marker
        )
        if isinstance(choice, NoSource):
            raise NoUsableSource(f"{media.item.name}: {choice.reason}")
        if isinstance(choice, FromText):
            return await track_builder.read_embedded(media.location, choice.track, choice.language)
        return await track_builder.transcribe(
            media.location, choice.track, media.identity, target, progress=progress
        )

    async def translate(
        self,
        path: Path,
        target: LanguageTag,
        source: LanguageTag | None,
        output: Path | None,
        progress: Progress | None,
    ) -> str:
        """Translate one subtitle file.

        Args:
            path: The subtitle file.
            target: Target language.
            source: Language of the file; None: as its name says.
            output: Folder for the translation; None: beside the file.
            progress: Called after each batch of sentences.

        Returns:
            The name of the written file and its provenance, in one line.

        Raises:
            SubtitleUnreadable: The file is not a text subtitle.
            ReplyUnusable: Too many sentences could not be translated; nothing is written.
            UsageError: The language of the file is unknown.
        """
        codec = self._deps.codec
        content = await asyncio.to_thread(_read, path)
        stem, language = _split_name(path)
        language = source or language
        if language is None:
            raise UsageError(f"the name of {path.name} does not contain a language: add --from LANG")
        subtitle = await asyncio.to_thread(codec.read, path.name, content, language)
        text = SourceText(language, path.name, subtitle.cues)
        translated = await self._deps.track_builder.translate(text, target, progress)
        lines = [
            line
            for sentence, translation in translated.sentences
            for line in distribute_lines(translation, sentence.cues, target)
        ]
        new_content = await asyncio.to_thread(codec.rewrite, path.name, content, lines, language)
        extension = path.suffix[1:].lower() if subtitle.format in WRITABLE_FORMATS else "srt"
        file_name = await self._write(output or path.parent, stem, target, extension, new_content)
        return f"{file_name}, {translated.provenance}"

    async def _write(
        self, folder: Path, stem: str, target: LanguageTag, extension: str, content: bytes
    ) -> str:
        """Write a finished track and return its file name."""
        marker = self._deps.planner.policy.marker
        track = FinishedTrack(target, marker, extension, content, ContentHash(""))
        file_name = track.file_name(stem)
        await asyncio.to_thread(self._deps.write, folder / file_name, content)
        return file_name


def _split_name(path: Path) -> tuple[str, LanguageTag | None]:
    """Return the stem of the media file and the language of a subtitle file, as its name says.

    The stem is the shortest one after which servers know every word of the name.
    """
    words = path.stem.split(".")
    for count in range(1, len(words)):
        stem = ".".join(words[:count])
        sidecar = read_sidecar_name(stem, f"{path.stem}.srt")
        if sidecar is not None and sidecar.language is not None and not sidecar.title:
            return stem, sidecar.language
    return path.stem, None


def _read(path: Path) -> bytes:
    """Read a subtitle file; of one that is too large, enough for the codec to reject it."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_SUBTITLE_BYTES + 1)
    except OSError as error:
        raise SubtitleUnreadable(path.name, (error.strerror or "unreadable").lower()) from error
