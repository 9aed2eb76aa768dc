"""What a wanted language is made from: an existing text track, else a sound track, with the reason."""

from collections.abc import Callable
from dataclasses import dataclass

from fluxcaption.domain.language import LanguageTag, satisfies
from fluxcaption.domain.media import AudioTrack, Item, MediaSource, SubtitleTrack

MACHINE_MARKS = frozenset({"ai", "asr", "auto", "generated", "machine", "subgen", "whisper", "lingarr"})
"""Words in a title or file name by which other tools sign what they made."""

CanTranslate = Callable[[LanguageTag, LanguageTag], bool]
"""Whether some backend is worth asking for a pair: source, target."""


@dataclass(frozen=True, slots=True)
class FromText:
    """Translate an existing text track."""

    track: SubtitleTrack
    language: LanguageTag
    reason: str


@dataclass(frozen=True, slots=True)
class FromSound:
    """Listen to a sound track, then translate if need be."""

    track: AudioTrack
    reason: str


@dataclass(frozen=True, slots=True)
class NoSource:
    """Nothing to work from."""

    reason: str


SourceChoice = FromText | FromSound | NoSource


def is_ours(track: SubtitleTrack, marker: str) -> bool:
    """Whether a track carries our marker in its file name or title."""
    return track.is_external and marker in _words(track)


def is_machine_made(track: SubtitleTrack, marker: str) -> bool:
    """Whether a track was made by a program, ours or another; such a track is never translated again."""
    return bool(_words(track) & (MACHINE_MARKS | {marker}))


def _words(track: SubtitleTrack) -> frozenset[str]:
    text = f"{track.title} {track.file_name if track.is_external else ''}".lower()
    for delimiter in "._()[]-":
        if delimiter != "-":
            text = text.replace(delimiter, " ")
    return frozenset(text.split())


def spoken_track(item: Item, source: MediaSource) -> AudioTrack | None:
    """The sound track to listen to: the original one, else the default, else the first; never commentary."""
    tracks = [track for track in source.audio if not track.is_commentary]
    if not tracks:
        return None
    original = item.original_language
    for wanted in (
        lambda track: track.is_original,
        lambda track: original is not None and track.language is not None and satisfies(track.language, original),
        lambda track: track.is_default,
    ):
        if found := next((track for track in tracks if wanted(track)), None):
            return found
    return tracks[0]


def choose_source(item: Item, source: MediaSource, target: LanguageTag, can_translate: CanTranslate, marker: str) -> SourceChoice:
    """Pick the source for one target: text in the spoken language, then other readable text, then the sound."""
    spoken = spoken_track(item, source)
    spoken_language = spoken.language if spoken else None
    texts = [
        (track, track.language)
        for track in source.subtitles
        if track.is_text and track.language is not None and not track.is_forced and not track.is_commentary and not is_machine_made(track, marker)
    ]
    usable = [(track, language) for track, language in texts if can_translate(language, target)]
    usable.sort(key=lambda entry: (spoken_language is None or not satisfies(entry[1], spoken_language), entry[0].is_hearing_impaired, not entry[0].is_external))
    if usable:
        track, language = usable[0]
        kind = "in the spoken language" if spoken_language and satisfies(language, spoken_language) else "which a translator reads"
        return FromText(track, language, f"the {language} text track {kind} is translated")
    if spoken is None:
        return NoSource("there is no text track a translator reads and no sound track" if not source.audio else "every sound track is a commentary")
    if spoken_language is not None and not satisfies(spoken_language, target) and not can_translate(spoken_language, target):
        return NoSource(f"no translation backend knows {spoken_language} to {target}")
    return FromSound(spoken, f"no usable text track: sound track {spoken.ordinal + 1} ({spoken_language or 'language unknown'}) is listened to")
