"""Situations of one film with the decisions for three targets, written in the terms of a server's answers.

Each row: a name, the streams, the expected action with a part of the reason for de, en and zh-Hans, the sidecars, and
the settings and fields that differ.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.fakes.jellyfin import FakeItem, Source, audio, new_id, text
from tests.fakes.jellyfin.library import VIDEO

TARGETS = ("de", "en", "zh-Hans")
TRANSCRIBE = ("listen", "audio track 1 (English) is transcribed")
TRANSCRIBE_JA = ("listen", "audio track 1 (Japanese) is transcribed")
SPOKEN = ("not-wanted", "English is the spoken language")
READ_EN = ("translate", "English text track in the spoken language is translated")
COVERED = ("covered", "text track exists")
USUAL = {"de": TRANSCRIBE, "en": SPOKEN, "zh-Hans": TRANSCRIBE}
FROM_EN = {"de": READ_EN, "en": COVERED, "zh-Hans": READ_EN}
SKIPPED_BY_RULE = ("not-wanted", "skipped by the rule")
NOT_A_FILE = ("not-wanted", "not a file of the library")


@dataclass(frozen=True)
class Situation:
    """One film.

    Attributes:
        name: Description of the situation.
        streams: Streams of the media file.
        expected: Action and a part of the reason, by target.
        sidecars: Names of the files beside the media file.
        policy: Parts of the configuration that differ.
        item: Fields of the item that differ.
        source: Fields of the media source that differ.
        other_version: Stem of a second version of the film; empty without one.
        stem: Stem of the media file.
    """

    name: str
    streams: tuple[dict[str, Any], ...]
    expected: dict[str, tuple[str, str]]
    sidecars: tuple[str, ...] = ()
    policy: dict[str, Any] = field(default_factory=dict)
    item: dict[str, Any] = field(default_factory=dict)
    source: dict[str, Any] = field(default_factory=dict)
    other_version: str = ""
    stem: str = "Film"


def fake_item(situation: Situation, library: str = "l") -> FakeItem:
    """Return the film of a situation for the fake server."""
    path = f"/media/movies/Film/{situation.stem}.mkv"
    sidecars = dict.fromkeys(situation.sidecars, b"1\n00:00:01,000 --> 00:00:02,000\nword\n")
    source = Source(
        new_id(situation.name), path, [VIDEO, *situation.streams], sidecars=sidecars, extra=situation.source
    )
    sources = [source]
    if situation.other_version:
        sources.append(
            Source(
                new_id("other"),
                f"/media/movies/Film/{situation.other_version}.mkv",
                [VIDEO, *situation.streams],
                sidecars=dict(sidecars),
            )
        )
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    return FakeItem(source.id, library, "Movie", "Film", sources, moment, moment, extra=situation.item)


def all_of(action: tuple[str, str]) -> dict[str, tuple[str, str]]:
    return dict.fromkeys(TARGETS, action)


def commentary(language: str = "eng") -> dict[str, Any]:
    return audio(language, Title="Director's Commentary", IsDefault=False)


S = Situation
EN = audio("eng")
JA = audio("jpn")
SITUATIONS = [
    # tracks that cover
    S("English sound and nothing else", (EN,), USUAL),
    S("an embedded German track", (EN, text("ger")), {**USUAL, "de": COVERED, "zh-Hans": ("translate", "German text track is translated")}),
    S("an embedded German track by its other code", (EN, text("deu")), {**USUAL, "de": COVERED, "zh-Hans": ("translate", "German text track")}),
    S("a German file", (EN,), {**USUAL, "de": ("covered", "German text track exists: Film.de.srt"), "zh-Hans": ("translate", "German text track")}, ("Film.de.srt",)),
    S("an English embedded track", (EN, text("eng")), FROM_EN),
    S("an English file", (EN,), FROM_EN, ("Film.en.srt",)),
    S("English and German tracks", (EN, text("eng"), text("ger")), {"de": COVERED, "en": COVERED, "zh-Hans": READ_EN}),
    S("all three", (EN, text("eng"), text("ger"), text("chi", Title="Simplified")), all_of(COVERED)),
    S("an SDH track covers", (EN, text("eng", IsHearingImpaired=True)), FROM_EN),
    S("an SDH file covers", (EN,), FROM_EN, ("Film.en.sdh.srt",)),
    S("an SDH track named by its title covers", (EN, text("eng", Title="English [SDH]")), FROM_EN),
    S("an ASS track covers", (EN, text("eng", "ass")), FROM_EN),
    S("a mov_text track covers", (EN, text("eng", "mov_text")), FROM_EN),
    S("a full track with songs covers", (EN, text("eng", Title="Full dialogue, signs & songs")), FROM_EN),
    S("another tool's track covers and is no source", (EN,), {**USUAL, "en": COVERED}, ("Film.ai.en.srt",)),
    S("a FluxCaption track covers and is no source", (EN,), {**USUAL, "en": ("covered", "FluxCaption English text track exists")}, ("Film.fluxcaption.en.srt",)),
    S("a default track covers", (EN, text("ger", IsDefault=True)), {**USUAL, "de": COVERED, "zh-Hans": ("translate", "German text track")}),
    S("a machine mark with a hyphen is found", (EN,), {**USUAL, "en": COVERED}, ("Film.faster-whisper.en.srt",)),
    S("a generated track is no source", (JA, text("eng", Title="Auto-generated")), {"de": TRANSCRIBE_JA, "en": COVERED, "zh-Hans": TRANSCRIBE_JA}),
    S("a film may have the name of a tool", (EN,), FROM_EN, ("The Whisper (2021).en.srt",), stem="The Whisper (2021)"),
    S("a film with the name of a tool, with a track of that tool", (EN,), {**USUAL, "en": COVERED}, ("Auto (2023).whisper.en.srt",), stem="Auto (2023)"),
    S("a film with the name of a tool, with a FluxCaption track", (EN,), {**USUAL, "en": ("covered", "FluxCaption English text track exists")}, ("AI.Love.You.fluxcaption.en.srt",), stem="AI.Love.You"),
    S("a track with the name of its film covers", (EN, text("ger", Title="Signs (2002)")), {**USUAL, "de": COVERED, "zh-Hans": ("translate", "German text track")}),
    S("a track titled non-forced covers", (EN, text("ger", Title="Full (non-forced)")), {**USUAL, "de": COVERED, "zh-Hans": ("translate", "German text track")}),
    S("an English file marked hin is for the hearing impaired", (EN,), FROM_EN, ("Film.en.hin.srt",)),
    S("a track after one that the library hides", (EN, text("ger", "PGSSUB", IsHidden=True), text("eng")), {**FROM_EN, "en": ("covered", "embedded track 2")}),
    # tracks that do not cover
    S("a forced German track", (EN, text("ger", IsForced=True)), {**USUAL, "de": ("listen", "the German track is forced only")}),
    S("a forced German file", (EN,), {**USUAL, "de": ("listen", "the German track is forced only")}, ("Film.de.forced.srt",)),
    S("a track forced by its title", (EN, text("ger", Title="Deutsch (Forced)")), {**USUAL, "de": ("listen", "forced only")}),
    S("a German PGS track", (EN, text("ger", "PGSSUB")), {**USUAL, "de": ("listen", "is an image track")}),
    S("a German VobSub track", (EN, text("ger", "DVDSUB")), {**USUAL, "de": ("listen", "is an image track")}),
    S("a German DVB track", (EN, text("ger", "DVBSUB")), {**USUAL, "de": ("listen", "is an image track")}),
    S("German teletext", (EN, text("ger", "DVBTXT")), {**USUAL, "de": ("listen", "is an image track")}),
    S("a German VobSub track by its other name", (EN, text("ger", "dvd_subtitle")), {**USUAL, "de": ("listen", "is an image track")}),
    S("a German XSUB track", (EN, text("ger", "xsub")), {**USUAL, "de": ("listen", "is an image track")}),
    S("a track forced by a title in German", (EN, text("ger", Title="Zwangsuntertitel")), {**USUAL, "de": ("listen", "forced only")}),
    S("a track for the foreign parts", (EN, text("ger", Title="Foreign Parts Only")), {**USUAL, "de": ("listen", "forced only")}),
    S("a commentary by a title in Japanese", (EN, text("ger", Title="コメンタリー")), {**USUAL, "de": ("listen", "belongs to a commentary")}),
    S("a file of a commentary", (EN,), {**USUAL, "de": ("listen", "belongs to a commentary")}, ("Film.Kommentar.de.srt",)),
    S("an English PGS track is no source", (JA, text("eng", "PGSSUB")), all_of(("listen", "is an image track"))),
    S("a commentary track", (EN, text("ger", Title="Kommentar des Regisseurs")), {**USUAL, "de": ("listen", "belongs to a commentary")}),
    S("a signs track", (EN, text("ger", Title="Signs & Songs")), {**USUAL, "de": ("listen", "signs and songs only")}),
    S("a karaoke track is no source", (JA, text("eng", Title="Karaoke")), all_of(("listen", "audio track 1 (Japanese)"))),
    S("forced only is no source", (JA, text("eng", IsForced=True)), all_of(("listen", "audio track 1 (Japanese)"))),
    S("a commentary track is no source", (JA, text("eng", Title="Commentary")), all_of(("listen", "audio track 1 (Japanese)"))),
    S("an SDH track where a rule says it does not cover", (JA, text("eng", IsHearingImpaired=True)), {"de": ("translate", "English text track"), "en": ("translate", "hearing impaired"), "zh-Hans": ("translate", "English text track")}, policy={"rules": [{"library": "Movies", "sdh_covers": False}]}),
    # tracks without a language
    S("the language of an und track is detected first", (EN, text("und")), {"de": ("inspect", "its language is detected first"), "en": SPOKEN, "zh-Hans": ("inspect", "its language is detected first")}),
    S("the language of a track without a language is detected first", (JA, text(None)), all_of(("inspect", "embedded track 1"))),
    S("the language of a file without a language is detected first", (JA,), all_of(("inspect", "exists: Film.srt")), ("Film.srt",)),
    S("an und track beside the wanted one", (JA, text("und"), text("ger")), {"de": COVERED, "en": ("inspect", "its language is detected first"), "zh-Hans": ("inspect", "its language is detected first")}),
    S("a forced und track is ignored", (EN, text("und", IsForced=True)), USUAL),
    S("an und image track is ignored", (EN, text("und", "PGSSUB")), USUAL),
    S("mul names no language", (JA, text("mul")), all_of(("inspect", "its language is detected first"))),
    S("zxx names no language", (JA, text("zxx")), all_of(("inspect", "its language is detected first"))),
    S("qaa names no language", (JA, text("qaa")), all_of(("inspect", "its language is detected first"))),
    # spellings
    S("the language by its English name", (EN,), {**USUAL, "de": COVERED, "zh-Hans": ("translate", "German text track")}, ("Film.German.srt",)),
    S("Chinese without a script covers", (JA, text("chi")), {"de": ("translate", "Chinese text track"), "en": ("translate", "Chinese text track"), "zh-Hans": COVERED}),
    S("zh-CN embedded covers", (JA, text("zh-CN")), {"de": ("translate", "Chinese (zh-Hans)"), "en": ("translate", "Chinese (zh-Hans)"), "zh-Hans": COVERED}),
    S("zh-TW embedded does not cover", (JA, text("zh-TW")), {"de": ("translate", "Chinese (zh-Hant)"), "en": ("translate", "Chinese (zh-Hant)"), "zh-Hans": ("translate", "Chinese (zh-Hant)")}),
    S("Chinese titled traditional does not cover", (JA, text("chi", Title="Traditional")), all_of(("translate", "Chinese (zh-Hant) text track"))),
    S("Chinese titled simplified covers", (JA, text("zho", Title="Simplified Chinese")), {"de": ("translate", "Chinese (zh-Hans)"), "en": ("translate", "Chinese (zh-Hans)"), "zh-Hans": COVERED}),
    S("a file zh-Hans.zh covers", (JA,), {"de": ("translate", "Chinese (zh-Hans)"), "en": ("translate", "Chinese (zh-Hans)"), "zh-Hans": COVERED}, ("Film.zh-Hans.zh.srt",)),
    S("a file chs covers", (JA,), {"de": ("translate", "Chinese (zh-Hans)"), "en": ("translate", "Chinese (zh-Hans)"), "zh-Hans": COVERED}, ("Film.chs.srt",)),
    S("Cantonese does not cover Chinese", (JA, text("yue")), all_of(("translate", "Cantonese text track"))),
    S("Chinese without a script, with strictness script", (JA, text("chi")), all_of(("translate", "Chinese text track")), policy={"languages": {"targets": list(TARGETS), "strictness": "script"}}),
    S("British English covers", (JA, text("en-GB")), {"de": ("translate", "English (en-GB)"), "en": COVERED, "zh-Hans": ("translate", "English (en-GB)")}),
    S("Brazilian Portuguese is a source", (JA, text("pob")), all_of(("translate", "Portuguese (pt-BR) text track"))),
    S("a Greek file is a source", (JA,), all_of(("translate", "Greek text track")), ("Film.el.srt",)),
    # spoken languages
    S("German is spoken", (audio("ger"),), {"de": ("not-wanted", "German is the spoken language"), "en": ("listen", "audio track 1 (German)"), "zh-Hans": ("listen", "audio track 1 (German)")}),
    S("the spoken language is made with when_spoken: make", (EN,), {**USUAL, "en": TRANSCRIBE}, policy={"languages": {"targets": list(TARGETS), "when_spoken": "make"}}),
    S("audio without a language", (audio(None),), all_of(("listen", "language unknown"))),
    S("only foreign, and English is understood", (EN,), {**USUAL, "de": ("not-wanted", "English audio is understood")}, policy={"languages": {"targets": [{"language": "de", "when": "foreign"}, "en", "zh-Hans"], "understood": ["en"]}}),
    S("only foreign, and Japanese is not", (JA,), all_of(("listen", "audio track 1 (Japanese)")), policy={"languages": {"targets": [{"language": "de", "when": "foreign"}, "en", "zh-Hans"], "understood": ["en"]}}),
    S("only foreign, and a dub is understood", (JA, audio("ger", IsDefault=False)), {"de": ("not-wanted", "German audio is understood"), "en": ("listen", "(Japanese)"), "zh-Hans": ("listen", "(Japanese)")}, policy={"languages": {"targets": [{"language": "de", "when": "foreign"}, "en", "zh-Hans"], "understood": ["de"]}}),
    S("an understood commentary does not count", (JA, commentary("ger")), all_of(("listen", "(Japanese)")), policy={"languages": {"targets": [{"language": "de", "when": "foreign"}, "en", "zh-Hans"], "understood": ["de"]}}),
    # choice of the audio and text track
    S("the default audio track", (audio("jpn", IsDefault=False), audio("eng")), {"de": ("listen", "audio track 2 (English)"), "en": SPOKEN, "zh-Hans": ("listen", "audio track 2 (English)")}),
    S("never the commentary", (audio("eng", Title="Commentary"), audio("eng", IsDefault=False)), {"de": ("listen", "audio track 2 (English)"), "en": SPOKEN, "zh-Hans": ("listen", "audio track 2 (English)")}),
    S("never the audio description", (audio("eng", Title="English Audio Description"), audio("eng", IsDefault=False)), {"de": ("listen", "audio track 2"), "en": SPOKEN, "zh-Hans": ("listen", "audio track 2")}),
    S("nothing but commentary", (commentary(),), all_of(("cannot", "every audio track is a commentary"))),
    S("no audio and no text", (), all_of(("cannot", "no audio track"))),
    S("no audio but text", (text("eng"),), {"de": ("translate", "English text track"), "en": COVERED, "zh-Hans": ("translate", "English text track")}),
    S("text in the spoken language before other text", (JA, text("eng"), text("jpn")), {"de": ("translate", "Japanese text track in the spoken language"), "en": COVERED, "zh-Hans": ("translate", "Japanese text track in the spoken language")}),
    S("English text before other foreign text", (JA, text("fre"), text("eng")), {"de": ("translate", "English text track is translated"), "en": COVERED, "zh-Hans": ("translate", "English text track is translated")}),
    S("a plain track before one for the hearing impaired", (EN, text("eng", IsHearingImpaired=True), text("eng")), FROM_EN),
    S("the item's original language", (audio("eng"), audio("jpn", IsDefault=False)), {"de": ("listen", "audio track 2 (Japanese)"), "en": ("listen", "audio track 2 (Japanese)"), "zh-Hans": ("listen", "audio track 2 (Japanese)")}, item={"OriginalLanguage": "jpn"}),
    S("the original track by its flag", (audio("eng"), audio("jpn", IsDefault=False, IsOriginal=True)), all_of(("listen", "audio track 2 (Japanese)"))),
    # rules
    S("a rule by library skips", (EN,), all_of(SKIPPED_BY_RULE), policy={"rules": [{"library": "movies", "skip": True}]}),
    S("a rule for another library", (EN,), USUAL, policy={"rules": [{"library": "Anime", "skip": True}]}),
    S("a rule by path skips", (EN,), all_of(SKIPPED_BY_RULE), policy={"rules": [{"path": "**/Film/**", "skip": True}]}),
    S("a single star does not match across folders", (EN,), USUAL, policy={"rules": [{"path": "/media/*.mkv", "skip": True}]}),
    S("a rule by type skips", (EN,), all_of(SKIPPED_BY_RULE), policy={"rules": [{"type": "movie", "skip": True}]}),
    S("a rule for episodes", (EN,), USUAL, policy={"rules": [{"type": "episode", "skip": True}]}),
    S("a rule by tag skips", (EN,), all_of(SKIPPED_BY_RULE), item={"Tags": ["No Subtitles"]}, policy={"rules": [{"tag": "no subtitles", "skip": True}]}),
    S("a rule by series", (EN,), all_of(SKIPPED_BY_RULE), item={"SeriesName": "Show", "SeriesId": "5" * 32}, policy={"rules": [{"series": "show", "skip": True}]}),
    S("the first of two rules wins", (EN,), {"de": ("listen", "an accepted source language"), "en": SPOKEN, "zh-Hans": ("listen", "an accepted source language")}, policy={"rules": [{"library": "Movies", "sources": ["en"]}, {"type": "movie", "skip": True}]}),
    S("accepted sources: text before audio", (JA, text("jpn"), text("eng")), {"de": ("translate", "Japanese text track is translated; Japanese is an accepted"), "en": COVERED, "zh-Hans": ("translate", "Japanese is an accepted")}, policy={"rules": [{"library": "Movies", "sources": ["ja"]}]}),
    S("accepted sources: nothing else is used", (JA, text("eng")), {"de": ("listen", "audio track 1 (Japanese) is transcribed; Japanese is an accepted"), "en": COVERED, "zh-Hans": ("listen", "Japanese is an accepted")}, policy={"rules": [{"library": "Movies", "sources": ["ja"]}]}),
    S("accepted sources: none exists", (EN, text("eng")), {"de": ("cannot", "no track in the accepted source languages (Japanese)"), "en": COVERED, "zh-Hans": ("cannot", "no track in the accepted source languages (Japanese)")}, policy={"rules": [{"library": "Movies", "sources": ["ja"]}]}),
    S("accepted sources: the best first", (EN, audio("jpn", IsDefault=False), text("eng")), {"de": ("listen", "audio track 2 (Japanese)"), "en": COVERED, "zh-Hans": ("listen", "audio track 2 (Japanese)")}, policy={"rules": [{"library": "Movies", "sources": ["ja", "en"]}]}),
    # excluded items
    S("an extra", (EN,), all_of(("not-wanted", "the item is an extra")), item={"ExtraType": "Trailer"}),
    S("a folder rip", (EN,), all_of(("not-wanted", "disc folder")), item={"VideoType": "BluRay"}),
    S("a virtual item", (EN,), all_of(("not-wanted", "virtual item")), item={"LocationType": "Virtual"}),
    S("a placeholder", (EN,), all_of(("not-wanted", "placeholder")), source={"Type": "Placeholder"}),
    S("a stream address", (EN,), all_of(NOT_A_FILE), source={"Protocol": "Http"}),
    S("a stream address that a rule allows", (EN,), USUAL, source={"Protocol": "Http"}, policy={"rules": [{"library": "Movies", "remote": True}]}),
    # versions and other files
    S("a file of the version with the longer name does not count", (EN,), {**USUAL, "de": ("listen", "belongs to another version")}, ("Film.extended.de.srt",), other_version="Film.extended"),
    S("the same file counts without that version", (EN,), {**USUAL, "de": COVERED, "zh-Hans": ("translate", "German text track")}, ("Film.extended.de.srt",)),
    S("a repeated upload is recognized as a FluxCaption track", (EN,), {**USUAL, "de": ("covered", "FluxCaption German text track exists")}, ("Film.fluxcaption.de.0.srt",)),
    S("an external audio track does not count", (EN, audio("ger", IsExternal=True, Path="/media/movies/Film/Film.de.ac3", IsDefault=False)), USUAL),
]  # fmt: skip
"""At least 80 situations."""
