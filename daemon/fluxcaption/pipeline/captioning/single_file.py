"""One file on the command line: the same listening, translating and shaping, without queue or server."""

import asyncio
from pathlib import Path

from fluxcaption.domain.errors import NoUsableSource, SubtitleUnreadable, UsageError
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.media import FinishedTrack, Item, ItemKind, MediaSource
from fluxcaption.domain.shaping import distribute_lines
from fluxcaption.domain.sidecars import read_sidecar_name
from fluxcaption.domain.sources import FromText, NoSource, choose_source
from fluxcaption.domain.units import ContentHash, ItemId, ServerId, SourceId
from fluxcaption.pipeline.captioning.source_text import SourceText
from fluxcaption.pipeline.captioning.track_builder import TrackBuilder, TrackBuilderDeps
from fluxcaption.pipeline.captioning.transcriber import Progress
from fluxcaption.ports.clock import Clock
from fluxcaption.ports.files import FileWriter
from fluxcaption.ports.media import MediaLocation

NOWHERE = ServerId("files")
MAX_SUBTITLE_BYTES = 4 * 2**20


class SingleFileCaptioner:
    """Captions and translates single files."""

    def __init__(self, parts: TrackBuilderDeps, write: FileWriter, clock: Clock) -> None:
        self._parts = parts
        self._maker = TrackBuilder(parts)
        self._write = write
        self._clock = clock

    async def caption(
        self,
        path: Path,
        target: LanguageTag,
        spoken: LanguageTag | None,
        output: Path | None,
        progress: Progress | None,
    ) -> str:
        """Make one target of one media file and say what was written.

        Raises:
            MediaUnreadable: It is no media file.
            NoUsableSource: There is nothing to work from.
        """
        parts = self._parts
        location = MediaLocation(str(path.absolute()))
        duration_ms, audio, subtitles = await asyncio.to_thread(parts.media.probe, location)
        identity = await asyncio.to_thread(parts.media.identify, location, duration_ms)
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
            NOWHERE,
            ItemId(identity.fingerprint),
            path.name,
            ItemKind.VIDEO,
            "",
            "",
            self._clock.now(),
            (source,),
            spoken,
        )
        choice = choose_source(item, source, target, parts.planner.reads, parts.planner.policy.marker)
        if isinstance(choice, NoSource):
            raise NoUsableSource(f"{path.name}: {choice.reason}")
        if isinstance(choice, FromText):
            text = await self._maker.read_embedded(location, choice.track, choice.language)
        else:
            text = await self._maker.transcribe(location, choice.track, identity, 1, target, progress)
        cues, how = await self._maker.render(text, target)
        content = parts.codec.write_srt(cues)
        track = FinishedTrack(target, parts.planner.policy.marker, "srt", content, ContentHash(""))
        file_suffix = (output or path.parent) / track.file_name(source.stem)
        await asyncio.to_thread(self._write, file_suffix, content)
        return f"{file_suffix.name} {how}, {len(cues)} cues"

    async def translate(
        self,
        path: Path,
        target: LanguageTag,
        source: LanguageTag | None,
        output: Path | None,
        progress: Progress | None,
    ) -> str:
        """Translate one subtitle file into one language and say what was written.

        Raises:
            SubtitleUnreadable: It is no text subtitle.
            ReplyUnusable: Too many sentences could not be translated; nothing is written.
        """
        parts = self._parts
        content = await asyncio.to_thread(_read, path)
        stem, language = _named(path)
        language = source or language
        if language is None:
            raise UsageError(f"the name of {path.name} does not say its language: give --from LANG")
        read = await asyncio.to_thread(parts.codec.read, path.name, content, language)
        text = SourceText(language, path.name, read.cues)
        translated, how = await self._maker.translated(text, target, progress)
        texts = [
            words
            for sentence, whole in translated
            for words in distribute_lines(whole, sentence.cues, target)
        ]
        new = await asyncio.to_thread(parts.codec.rewrite, path.name, content, texts, language)
        extension = path.suffix[1:].lower() if read.format in {"srt", "vtt", "ass", "ssa"} else "srt"
        file_suffix = (output or path.parent) / FinishedTrack(
            target, parts.planner.policy.marker, extension, new, ContentHash("")
        ).file_name(stem)
        await asyncio.to_thread(self._write, file_suffix, new)
        return f"{file_suffix.name} {how}"


def _named(path: Path) -> tuple[str, LanguageTag | None]:
    """Stem of the media file and the language, as the name says: the shortest stem after which every word is one that servers know."""
    words = path.stem.split(".")
    for count in range(1, len(words)):
        stem = ".".join(words[:count])
        facts = read_sidecar_name(stem, f"{path.stem}.srt")
        if facts is not None and facts.language is not None and not facts.title:
            return stem, facts.language
    return path.stem, None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_SUBTITLE_BYTES + 1)
    except OSError as error:
        raise SubtitleUnreadable(path.name, (error.strerror or "unreadable").lower()) from error
