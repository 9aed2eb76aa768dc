"""What the title of a track tells about it, for every library alike: a container's flags are often not set."""

import re
from dataclasses import replace

from fluxcaption.domain.language import refine
from fluxcaption.domain.media import SubtitleTrack


def _any_of(*parts: str) -> re.Pattern[str]:
    """A pattern that finds any of the parts; not where it is the name of a film with its year, as in `Signs (2002)`."""
    return re.compile(rf"(?:{'|'.join(parts)})(?!\W*(?:19|20)\d\d\b)", re.IGNORECASE)


_COMMENTARY = _any_of(
    *(
        "comment",
        r"koment[aá]",
        r"coment[aá]",
        r"komment[aá]",
        "коммент",
        "комента",
        "コメンタリー",
        "解[说說]",
        r"\btrivia\b",
        r"director'?s? (?:notes|talk)",
    ),
    *("audio.?descri", "descriptive", "described", "audiodeskription", "hörfilm", r"\bad\b"),
)
_SIGNS = _any_of(
    *(
        r"\bsigns?\b",
        r"\bsongs?\b",
        "karaoke",
        r"\bs&s\b",
        r"\blyrics\b",
        "sing.?along",
        "typesett?ing",
        "on.?screen.text",
    ),
    *(r"\bschilder\b", r"\bletreros\b", r"\bcarteles\b", r"\bcartelli\b", r"\bpanneaux\b", r"\bнадписи\b"),
)
_WHOLE = re.compile(r"\b(?:full|dialog(?:ue|s)?|complete)\b", re.IGNORECASE)
_FORCED = _any_of(
    *(
        r"(?<!non.)(?<!not.)\bforced\b",
        r"\bforeign\b",
        r"\bnon.english\b",
        r"\berzwungene?\b",
        "zwangsuntertitel",
        r"\bforcée?s?\b",
        r"\bfor[zç]ad[ao]s?\b",
    ),
    *(
        r"\bforzat[aoie]\b",
        r"\bgedwongen\b",
        r"\btvungen\b",
        r"\btving[ae]\w*",
        r"\bwymuszon\w+",
        r"\bvynucen\w+",
        r"\bpakotet\w+",
        "форсирован",
        "強制",
        "强制",
    ),
)
_IMPAIRED = _any_of(
    *(r"\bsdh\b", r"\bcc\b", r"\bhoh\b", "hearing.impaired", "hard.of.hearing", "closed.caption"),
    *("hörgeschädigt", "malentendant", "non.udenti", r"\bsordos\b", r"\bsurdos\b", "slechthorend"),
)


def is_commentary_title(title: str) -> bool:
    """Whether a title is that of a commentary or an audio description."""
    return bool(_COMMENTARY.search(title))


def apply_title(track: SubtitleTrack) -> SubtitleTrack:
    """The track with what its title tells beyond its flags and its language code; tokens of a file name are a title, too."""
    title = track.title
    if not title:
        return track
    return replace(
        track,
        language=refine(track.language, title) if track.language is not None else None,
        is_forced=track.is_forced or bool(_FORCED.search(title)),
        is_hearing_impaired=track.is_hearing_impaired or bool(_IMPAIRED.search(title)),
        is_commentary=track.is_commentary or is_commentary_title(title),
        is_signs=bool(_SIGNS.search(title)) and not _WHOLE.search(title),
    )
