"""What a wanted language is made from: an existing text track, else a sound track, with the reason."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fluxcaption.domain.language import LanguageTag, satisfies
from fluxcaption.domain.media import AudioTrack, Item, MediaSource, SubtitleTrack

MACHINE_MARKS = frozenset({"ai", "asr", "auto", "generated", "machine", "subgen", "whisper", "lingarr"})
"""Words in a title or file name by which other tools sign what they made."""

Reads = Callable[[LanguageTag, LanguageTag], int | None]
"""How well some backend reads a pair (source, target): its place in the configuration, 0 first; None when none does."""


@dataclass(frozen=True, slots=True)
class KnownTracks:
    """What reading the tracks of a media source once has told; all by the track's key.

    Attributes:
        languages: Of tracks that say none; None for one whose language could not be told.
        ours: Tracks that are ours by what is in them, whatever they are called.
        misfits: External texts that do not fit the sound, with the reason.
    """

    languages: Mapping[str, LanguageTag | None] = field(default_factory=dict)
    ours: frozenset[str] = frozenset()
    misfits: Mapping[str, str] = field(default_factory=dict)

    def applied_to(self, source: MediaSource) -> MediaSource:
        """The media source as if its tracks had said themselves what reading them told."""
        if not self.languages:
            return source
        return replace(
            source,
            subtitles=tuple(
                replace(track, language=self.languages[track.key]) if track.language is None and self.languages.get(track.key) else track
                for track in source.subtitles
            ),
        )


NOTHING_KNOWN = KnownTracks()


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


def is_ours(track: SubtitleTrack, marker: str, known: KnownTracks = NOTHING_KNOWN) -> bool:
    """Whether a track carries our marker in its file name or title, or is known by what is in it."""
    return track.is_external and (track.key in known.ours or marker in _words(track))


def is_machine_made(track: SubtitleTrack, marker: str, known: KnownTracks = NOTHING_KNOWN) -> bool:
    """Whether a track was made by a program, ours or another; such a track is never translated again."""
    return track.key in known.ours or bool(_words(track) & (MACHINE_MARKS | {marker}))


def _words(track: SubtitleTrack) -> frozenset[str]:
    text = f"{track.title} {track.file_name if track.is_external else ''}".lower()
    for delimiter in "._()[]":
        text = text.replace(delimiter, " ")
    return frozenset(text.split())


def lies_beside(track: SubtitleTrack, source: MediaSource, item: Item) -> bool:
    """Whether an external track belongs to this version: not when its name begins with another version's longer one."""
    if not track.is_external:
        return True
    name = track.file_name.lower()
    stems = [other.stem.lower() for other in item.sources if name.startswith(other.stem.lower() + ".")]
    return not stems or max(stems, key=len) == source.stem.lower()


def spoken_track(item: Item, source: MediaSource) -> AudioTrack | None:
    """The sound track to listen to: the original one, else the default, else the first; never commentary or audio description."""
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


def choose_source(
    item: Item,
    source: MediaSource,
    target: LanguageTag,
    reads: Reads,
    marker: str,
    accepted: Sequence[LanguageTag] = (),
    known: KnownTracks = NOTHING_KNOWN,
) -> SourceChoice:
    """Pick the source for one target.

    Args:
        item: What the track belongs to.
        source: Its version.
        target: The language wanted.
        reads: Which pairs are worth asking a translator for.
        marker: How our own tracks are named.
        accepted: Source languages named by the owner, best first: nothing else is used, text before sound within a language. Empty: text
            in the spoken language, then the text a backend reads best, then the sound.
        known: What reading the tracks has told.
    """
    texts = [
        (track, track.language)
        for track in source.subtitles
        if track.could_serve
        and track.language is not None
        and track.key not in known.misfits
        and not is_machine_made(track, marker, known)
        and lies_beside(track, source, item)
    ]
    if accepted:
        return _among(accepted, item, source, target, texts, reads)
    spoken = spoken_track(item, source)
    spoken_language = spoken.language if spoken else None

    def order(entry: tuple[SubtitleTrack, LanguageTag]) -> tuple[object, ...]:
        track, language = entry
        is_spoken = spoken_language is not None and satisfies(language, spoken_language)
        return (not is_spoken, reads(language, target), language.language != "en", str(language), *_taste(track))

    usable = sorted(((track, language) for track, language in texts if reads(language, target) is not None), key=order)
    if usable:
        track, language = usable[0]
        kind = "in the spoken language" if spoken_language and satisfies(language, spoken_language) else "which a translator reads"
        return FromText(track, language, f"the {language} text track {kind} is translated")
    why_not = _why_no_text(source, texts, target, known)
    if spoken is None:
        return NoSource(f"{why_not}, and " + ("there is no sound track" if not source.audio else "every sound track is a commentary or audio description"))
    if spoken_language is not None and not satisfies(spoken_language, target) and reads(spoken_language, target) is None:
        return NoSource(f"no translation backend knows {spoken_language} to {target}")
    return FromSound(spoken, f"{why_not}: sound track {spoken.ordinal + 1} ({spoken_language or 'language unknown'}) is listened to")


def _among(
    accepted: Sequence[LanguageTag],
    item: Item,
    source: MediaSource,
    target: LanguageTag,
    texts: Sequence[tuple[SubtitleTrack, LanguageTag]],
    reads: Reads,
) -> SourceChoice:
    spoken = spoken_track(item, source)
    for wanted in accepted:
        if reads(wanted, target) is None and not satisfies(wanted, target):
            continue
        found = sorted((track for track, language in texts if satisfies(language, wanted) and reads(language, target) is not None), key=_taste)
        if found and found[0].language is not None:
            return FromText(found[0], found[0].language, f"the {found[0].language} text track is translated: {wanted} is among the named sources")
        sounds = [track for track in source.audio if not track.is_commentary and track.language is not None and satisfies(track.language, wanted)]
        if sounds:
            best = spoken if spoken in sounds and spoken is not None else sounds[0]
            return FromSound(best, f"sound track {best.ordinal + 1} ({best.language}) is listened to: {wanted} is among the named sources")
    return NoSource(f"nothing is in one of the named sources ({', '.join(str(tag) for tag in accepted)}) that can become {target}")


def _taste(track: SubtitleTrack) -> tuple[object, ...]:
    """Among tracks in one language: no notes for the hearing impaired, a file before a cut, a default one, then by name."""
    return (track.is_hearing_impaired, not track.is_external, track.key)


def _why_no_text(source: MediaSource, texts: Sequence[tuple[SubtitleTrack, LanguageTag]], target: LanguageTag, known: KnownTracks) -> str:
    misfit = next((reason for track in source.subtitles if (reason := known.misfits.get(track.key))), None)
    pictures = [track for track in source.subtitles if not track.is_text]
    if misfit:
        return f"a text track is no source ({misfit})"
    if texts:
        return f"no translation backend knows {texts[0][1]} to {target}"
    if pictures:
        return f"no text track ({pictures[0].language or 'a'} {pictures[0].codec} is a picture track, which nobody can translate)"
    return "no usable text track"
