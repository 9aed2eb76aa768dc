"""Situations of one film and what is decided about three targets; told as a server tells them, so that the same hold for a real answer.

Each row: what it is, its streams and sidecars, what is wished differently, and for de, en and zh-Hans the way with a piece of the sentence.
"""

from dataclasses import dataclass, field
from typing import Any

from tests.fakes.jellyfin import audio, text

TARGETS = ("de", "en", "zh-Hans")
TRANSCRIBE = ("listen", "sound track 1 (en) is listened to")
HEAR_JA = ("listen", "sound track 1 (ja) is listened to")
SPOKEN = ("not-wanted", "en is spoken in it")
READ_EN = ("translate", "the en text track in the spoken language is translated")
COVERED = ("covered", "serves it")
USUAL = {"de": TRANSCRIBE, "en": SPOKEN, "zh-Hans": TRANSCRIBE}
FROM_EN = {"de": READ_EN, "en": COVERED, "zh-Hans": READ_EN}
SKIPPED_BY_RULE = ("not-wanted", "says skip")
NOT_A_FILE = ("not-wanted", "not a file of the library")


@dataclass(frozen=True)
class Situation:
    """One film.

    Attributes:
        wishes: Parts of the configuration that differ.
        item: Fields of the item that differ.
        source: Fields of its media source that differ.
        other_version: Stem of a second version beside it.
        stem: What its file is called.
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


def all_of(action: tuple[str, str]) -> dict[str, tuple[str, str]]:
    return dict.fromkeys(TARGETS, action)


def commentary(language: str = "eng") -> dict[str, Any]:
    return audio(language, Title="Director's Commentary", IsDefault=False)


S = Situation
EN = audio("eng")
JA = audio("jpn")
SITUATIONS = [
    # what covers
    S("English sound and nothing else", (EN,), USUAL),
    S("an embedded German track", (EN, text("ger")), {**USUAL, "de": COVERED, "zh-Hans": ("translate", "the de text track which a translator reads")}),
    S("an embedded German track by its other code", (EN, text("deu")), {**USUAL, "de": COVERED, "zh-Hans": ("translate", "the de text track")}),
    S("a German file", (EN,), {**USUAL, "de": ("covered", "file Film.de.srt"), "zh-Hans": ("translate", "the de text track")}, ("Film.de.srt",)),
    S("an English embedded track", (EN, text("eng")), FROM_EN),
    S("an English file", (EN,), FROM_EN, ("Film.en.srt",)),
    S("English and German tracks", (EN, text("eng"), text("ger")), {"de": COVERED, "en": COVERED, "zh-Hans": READ_EN}),
    S("all three", (EN, text("eng"), text("ger"), text("chi", Title="Simplified")), all_of(COVERED)),
    S("an SDH track covers", (EN, text("eng", IsHearingImpaired=True)), FROM_EN),
    S("an SDH file covers", (EN,), FROM_EN, ("Film.en.sdh.srt",)),
    S("an SDH track told by its title covers", (EN, text("eng", Title="English [SDH]")), FROM_EN),
    S("an ASS track covers", (EN, text("eng", "ass")), FROM_EN),
    S("a mov_text track covers", (EN, text("eng", "mov_text")), FROM_EN),
    S("a full track with songs covers", (EN, text("eng", Title="Full dialogue, signs & songs")), FROM_EN),
    S("another tool's track covers and is no source", (EN,), {**USUAL, "en": COVERED}, ("Film.ai.en.srt",)),
    S("our track covers and is no source", (EN,), {**USUAL, "en": ("covered", "our own en text track")}, ("Film.fluxcaption.en.srt",)),
    S("a default track covers", (EN, text("ger", IsDefault=True)), {**USUAL, "de": COVERED, "zh-Hans": ("translate", "the de text track")}),
    S("a hyphen hides no machine's mark", (EN,), {**USUAL, "en": COVERED}, ("Film.faster-whisper.en.srt",)),
    S("a track that was generated is no source", (JA, text("eng", Title="Auto-generated")), {"de": HEAR_JA, "en": COVERED, "zh-Hans": HEAR_JA}),
    S("a film may be called after a tool", (EN,), FROM_EN, ("The Whisper (2021).en.srt",), stem="The Whisper (2021)"),
    S("a film may be called after a tool, and a tool's track is still known", (EN,), {**USUAL, "en": COVERED}, ("Auto (2023).whisper.en.srt",), stem="Auto (2023)"),
    S("a film called after a tool with our track", (EN,), {**USUAL, "en": ("covered", "our own")}, ("AI.Love.You.fluxcaption.en.srt",), stem="AI.Love.You"),
    S("a track called after its film covers", (EN, text("ger", Title="Signs (2002)")), {**USUAL, "de": COVERED, "zh-Hans": ("translate", "the de text track")}),
    S("a track that says it is not forced covers", (EN, text("ger", Title="Full (non-forced)")), {**USUAL, "de": COVERED, "zh-Hans": ("translate", "the de text track")}),
    S("an English file marked hin is for the hearing impaired", (EN,), FROM_EN, ("Film.en.hin.srt",)),
    S("a track behind one that the library hides", (EN, text("ger", "PGSSUB", IsHidden=True), text("eng")), {**FROM_EN, "en": ("covered", "embedded track 2")}),
    # what does not
    S("a forced German track", (EN, text("ger", IsForced=True)), {**USUAL, "de": ("listen", "the de track is forced only")}),
    S("a forced German file", (EN,), {**USUAL, "de": ("listen", "the de track is forced only")}, ("Film.de.forced.srt",)),
    S("a track forced by its title", (EN, text("ger", Title="Deutsch (Forced)")), {**USUAL, "de": ("listen", "forced only")}),
    S("a German PGS track", (EN, text("ger", "PGSSUB")), {**USUAL, "de": ("listen", "is a picture")}),
    S("a German VobSub track", (EN, text("ger", "DVDSUB")), {**USUAL, "de": ("listen", "is a picture")}),
    S("a German DVB track", (EN, text("ger", "DVBSUB")), {**USUAL, "de": ("listen", "is a picture")}),
    S("German teletext", (EN, text("ger", "DVBTXT")), {**USUAL, "de": ("listen", "is a picture")}),
    S("a German track of pictures by another spelling", (EN, text("ger", "dvd_subtitle")), {**USUAL, "de": ("listen", "is a picture")}),
    S("a German XSUB track", (EN, text("ger", "xsub")), {**USUAL, "de": ("listen", "is a picture")}),
    S("a track forced by a title in German", (EN, text("ger", Title="Zwangsuntertitel")), {**USUAL, "de": ("listen", "forced only")}),
    S("a track of the foreign parts", (EN, text("ger", Title="Foreign Parts Only")), {**USUAL, "de": ("listen", "forced only")}),
    S("a commentary by a title in Japanese", (EN, text("ger", Title="コメンタリー")), {**USUAL, "de": ("listen", "of a commentary")}),
    S("a file of a commentary", (EN,), {**USUAL, "de": ("listen", "of a commentary")}, ("Film.Kommentar.de.srt",)),
    S("an English PGS track is named", (JA, text("eng", "PGSSUB")), all_of(("listen", "which nobody can translate"))),
    S("a commentary track", (EN, text("ger", Title="Kommentar des Regisseurs")), {**USUAL, "de": ("listen", "of a commentary")}),
    S("a signs track", (EN, text("ger", Title="Signs & Songs")), {**USUAL, "de": ("listen", "signs and songs only")}),
    S("a karaoke track is no source", (JA, text("eng", Title="Karaoke")), all_of(("listen", "sound track 1 (ja)"))),
    S("forced only is no source", (JA, text("eng", IsForced=True)), all_of(("listen", "sound track 1 (ja)"))),
    S("a commentary track is no source", (JA, text("eng", Title="Commentary")), all_of(("listen", "sound track 1 (ja)"))),
    S("an SDH track where a rule says it does not cover", (JA, text("eng", IsHearingImpaired=True)), {"de": ("translate", "the en text track"), "en": ("translate", "hearing impaired"), "zh-Hans": ("translate", "the en text track")}, policy={"rules": [{"library": "Movies", "sdh_covers": False}]}),
    # tracks of no language
    S("an und track is read first", (EN, text("und")), {"de": ("inspect", "it is read first"), "en": SPOKEN, "zh-Hans": ("inspect", "it is read first")}),
    S("a track without language is read first", (JA, text(None)), all_of(("inspect", "embedded track 1"))),
    S("a file without language is read first", (JA,), all_of(("inspect", "file Film.srt")), ("Film.srt",)),
    S("an und track beside the wanted one", (JA, text("und"), text("ger")), {"de": COVERED, "en": ("inspect", "read first"), "zh-Hans": ("inspect", "read first")}),
    S("a forced und track is not read", (EN, text("und", IsForced=True)), USUAL),
    S("an und picture is not read", (EN, text("und", "PGSSUB")), USUAL),
    S("mul names no language", (JA, text("mul")), all_of(("inspect", "read first"))),
    S("zxx names no language", (JA, text("zxx")), all_of(("inspect", "read first"))),
    S("qaa names no language", (JA, text("qaa")), all_of(("inspect", "read first"))),
    # spellings
    S("the language by its English name", (EN,), {**USUAL, "de": COVERED, "zh-Hans": ("translate", "the de text track")}, ("Film.German.srt",)),
    S("Chinese of no script serves", (JA, text("chi")), {"de": ("translate", "the zh text"), "en": ("translate", "the zh text"), "zh-Hans": COVERED}),
    S("zh-CN embedded serves", (JA, text("zh-CN")), {"de": ("translate", "the zh-Hans"), "en": ("translate", "the zh-Hans"), "zh-Hans": COVERED}),
    S("zh-TW embedded does not serve", (JA, text("zh-TW")), {"de": ("translate", "zh-Hant"), "en": ("translate", "zh-Hant"), "zh-Hans": ("translate", "zh-Hant")}),
    S("Chinese called traditional does not serve", (JA, text("chi", Title="Traditional")), all_of(("translate", "the zh-Hant text track"))),
    S("Chinese called simplified serves", (JA, text("zho", Title="Simplified Chinese")), {"de": ("translate", "zh-Hans"), "en": ("translate", "zh-Hans"), "zh-Hans": COVERED}),
    S("a file zh-Hans.zh serves", (JA,), {"de": ("translate", "zh-Hans"), "en": ("translate", "zh-Hans"), "zh-Hans": COVERED}, ("Film.zh-Hans.zh.srt",)),
    S("a file chs serves", (JA,), {"de": ("translate", "zh-Hans"), "en": ("translate", "zh-Hans"), "zh-Hans": COVERED}, ("Film.chs.srt",)),
    S("Cantonese is a language of its own", (JA, text("yue")), all_of(("translate", "the yue text track"))),
    S("unnamed Chinese by script strictness", (JA, text("chi")), all_of(("translate", "the zh text track")), policy={"languages": {"targets": list(TARGETS), "strictness": "script"}}),
    S("British English serves", (JA, text("en-GB")), {"de": ("translate", "en-GB"), "en": COVERED, "zh-Hans": ("translate", "en-GB")}),
    S("Brazilian Portuguese is a source", (JA, text("pob")), all_of(("translate", "the pt-BR text track"))),
    S("a Greek file is a source", (JA,), all_of(("translate", "the el text track")), ("Film.el.srt",)),
    # what is spoken, and for whom
    S("German is spoken", (audio("ger"),), {"de": ("not-wanted", "de is spoken in it"), "en": ("listen", "sound track 1 (de)"), "zh-Hans": ("listen", "sound track 1 (de)")}),
    S("the spoken language is made where that is wished", (EN,), {**USUAL, "en": TRANSCRIBE}, policy={"languages": {"targets": list(TARGETS), "when_spoken": "make"}}),
    S("sound of no language", (audio(None),), all_of(("listen", "language unknown"))),
    S("only foreign, and English is understood", (EN,), {**USUAL, "de": ("not-wanted", "the en sound track is understood")}, policy={"languages": {"targets": [{"language": "de", "when": "foreign"}, "en", "zh-Hans"], "understood": ["en"]}}),
    S("only foreign, and Japanese is not", (JA,), all_of(("listen", "sound track 1 (ja)")), policy={"languages": {"targets": [{"language": "de", "when": "foreign"}, "en", "zh-Hans"], "understood": ["en"]}}),
    S("only foreign, and a dub is understood", (JA, audio("ger", IsDefault=False)), {"de": ("not-wanted", "the de sound track is understood"), "en": ("listen", "(ja)"), "zh-Hans": ("listen", "(ja)")}, policy={"languages": {"targets": [{"language": "de", "when": "foreign"}, "en", "zh-Hans"], "understood": ["de"]}}),
    S("an understood commentary does not count", (JA, commentary("ger")), all_of(("listen", "(ja)")), policy={"languages": {"targets": [{"language": "de", "when": "foreign"}, "en", "zh-Hans"], "understood": ["de"]}}),
    # which sound, which text
    S("the default sound", (audio("jpn", IsDefault=False), audio("eng")), {"de": ("listen", "sound track 2 (en)"), "en": SPOKEN, "zh-Hans": ("listen", "sound track 2 (en)")}),
    S("never the commentary", (audio("eng", Title="Commentary"), audio("eng", IsDefault=False)), {"de": ("listen", "sound track 2 (en)"), "en": SPOKEN, "zh-Hans": ("listen", "sound track 2 (en)")}),
    S("never the audio description", (audio("eng", Title="English Audio Description"), audio("eng", IsDefault=False)), {"de": ("listen", "sound track 2"), "en": SPOKEN, "zh-Hans": ("listen", "sound track 2")}),
    S("nothing but commentary", (commentary(),), all_of(("cannot", "every sound track is a commentary"))),
    S("no sound and no text", (), all_of(("cannot", "there is no sound track"))),
    S("no sound but text", (text("eng"),), {"de": ("translate", "the en text track"), "en": COVERED, "zh-Hans": ("translate", "the en text track")}),
    S("text in the spoken language before other text", (JA, text("eng"), text("jpn")), {"de": ("translate", "the ja text track in the spoken"), "en": COVERED, "zh-Hans": ("translate", "the ja text track in the spoken")}),
    S("English text before other foreign text", (JA, text("fre"), text("eng")), {"de": ("translate", "the en text track which"), "en": COVERED, "zh-Hans": ("translate", "the en text track which")}),
    S("a plain track before one for the hearing impaired", (EN, text("eng", IsHearingImpaired=True), text("eng")), FROM_EN),
    S("the item's original language", (audio("eng"), audio("jpn", IsDefault=False)), {"de": ("listen", "sound track 2 (ja)"), "en": ("listen", "sound track 2 (ja)"), "zh-Hans": ("listen", "sound track 2 (ja)")}, item={"OriginalLanguage": "jpn"}),
    S("the original track by its flag", (audio("eng"), audio("jpn", IsDefault=False, IsOriginal=True)), all_of(("listen", "sound track 2 (ja)"))),
    # rules
    S("a rule by library skips", (EN,), all_of(SKIPPED_BY_RULE), policy={"rules": [{"library": "movies", "skip": True}]}),
    S("a rule for another library", (EN,), USUAL, policy={"rules": [{"library": "Anime", "skip": True}]}),
    S("a rule by path skips", (EN,), all_of(SKIPPED_BY_RULE), policy={"rules": [{"path": "**/Film/**", "skip": True}]}),
    S("a star does not cross folders", (EN,), USUAL, policy={"rules": [{"path": "/media/*.mkv", "skip": True}]}),
    S("a rule by type skips", (EN,), all_of(SKIPPED_BY_RULE), policy={"rules": [{"type": "movie", "skip": True}]}),
    S("a rule for episodes", (EN,), USUAL, policy={"rules": [{"type": "episode", "skip": True}]}),
    S("a rule by tag skips", (EN,), all_of(SKIPPED_BY_RULE), item={"Tags": ["No Subtitles"]}, policy={"rules": [{"tag": "no subtitles", "skip": True}]}),
    S("a rule by series", (EN,), all_of(SKIPPED_BY_RULE), item={"SeriesName": "Show", "SeriesId": "5" * 32}, policy={"rules": [{"series": "show", "skip": True}]}),
    S("the first of two rules wins", (EN,), {"de": ("listen", "among the named sources"), "en": SPOKEN, "zh-Hans": ("listen", "among the named sources")}, policy={"rules": [{"library": "Movies", "sources": ["en"]}, {"type": "movie", "skip": True}]}),
    S("named sources: text before sound", (JA, text("jpn"), text("eng")), {"de": ("translate", "the ja text track is translated: ja is among"), "en": COVERED, "zh-Hans": ("translate", "ja is among the named")}, policy={"rules": [{"library": "Movies", "sources": ["ja"]}]}),
    S("named sources: nothing else is used", (JA, text("eng")), {"de": ("listen", "sound track 1 (ja) is listened to: ja is among"), "en": COVERED, "zh-Hans": ("listen", "ja is among")}, policy={"rules": [{"library": "Movies", "sources": ["ja"]}]}),
    S("named sources: none is there", (EN, text("eng")), {"de": ("cannot", "nothing is in one of the named sources"), "en": COVERED, "zh-Hans": ("cannot", "nothing is in one of the named sources")}, policy={"rules": [{"library": "Movies", "sources": ["ja"]}]}),
    S("named sources: the best first", (EN, audio("jpn", IsDefault=False), text("eng")), {"de": ("listen", "sound track 2 (ja)"), "en": COVERED, "zh-Hans": ("listen", "sound track 2 (ja)")}, policy={"rules": [{"library": "Movies", "sources": ["ja", "en"]}]}),
    # what is left alone
    S("an extra", (EN,), all_of(("not-wanted", "it is an extra")), item={"ExtraType": "Trailer"}),
    S("a folder rip", (EN,), all_of(("not-wanted", "disc folder")), item={"VideoType": "BluRay"}),
    S("a virtual item", (EN,), all_of(("not-wanted", "virtual item")), item={"LocationType": "Virtual"}),
    S("a placeholder", (EN,), all_of(("not-wanted", "placeholder")), source={"Type": "Placeholder"}),
    S("a stream address", (EN,), all_of(NOT_A_FILE), source={"Protocol": "Http"}),
    S("a stream address that a rule allows", (EN,), USUAL, source={"Protocol": "Http"}, policy={"rules": [{"library": "Movies", "remote": True}]}),
    # neighbours
    S("a file of the longer version does not count", (EN,), {**USUAL, "de": ("listen", "belongs to another version")}, ("Film.extended.de.srt",), other_version="Film.extended"),
    S("the same file counts where there is no such version", (EN,), {**USUAL, "de": COVERED, "zh-Hans": ("translate", "the de text track")}, ("Film.extended.de.srt",)),
    S("a doubled upload is ours, too", (EN,), {**USUAL, "de": ("covered", "our own")}, ("Film.fluxcaption.de.0.srt",)),
    S("an external sound track is not counted", (EN, audio("ger", IsExternal=True, Path="/media/movies/Film/Film.de.ac3", IsDefault=False)), USUAL),
]  # fmt: skip
"""At least eighty."""
