"""Facts in the titles of tracks: forced, signs only, commentary, hearing impaired.

The flags of a container are often not set, so every library adapter reads the titles as well.
"""

import re
from dataclasses import replace

from fluxcaption.domain.language import refine
from fluxcaption.domain.media import SubtitleTrack


def _any_of(*parts: str) -> re.Pattern[str]:
    """Return a pattern for any of the parts, except before a year as in the film name `Signs (2002)`."""
    return re.compile(rf"(?:{'|'.join(parts)})(?!\W*(?:19|20)\d\d\b)", re.IGNORECASE)


_COMMENTARY = _any_of(
    r"comment|koment[aá]|coment[aá]|komment[aá]|коммент|комента|コメンタリー|解[说說]|\btrivia\b",
    r"director'?s? (?:notes|talk)",
    r"audio.?descri|descriptive|described|audiodeskription|hörfilm|\bad\b",
)
_SIGNS = _any_of(
    r"\bsigns?\b|\bsongs?\b|karaoke|\bs&s\b|\blyrics\b|sing.?along|typesett?ing|on.?screen.text",
    r"\bschilder\b|\bletreros\b|\bcarteles\b|\bcartelli\b|\bpanneaux\b|\bнадписи\b",
)
_FULL_DIALOGUE = re.compile(r"\b(?:full|dialog(?:ue|s)?|complete)\b", re.IGNORECASE)
_FORCED = _any_of(
    r"(?<!non.)(?<!not.)\bforced\b|\bforeign\b|\bnon.english\b|\berzwungene?\b|zwangsuntertitel",
    r"\bforcée?s?\b|\bfor[zç]ad[ao]s?\b|\bforzat[aoie]\b|\bgedwongen\b|\btvungen\b|\btving[ae]\w*",
    r"\bwymuszon\w+|\bvynucen\w+|\bpakotet\w+|форсирован|強制|强制",
)
_HEARING_IMPAIRED = _any_of(
    r"\bsdh\b|\bcc\b|\bhoh\b|hearing.impaired|hard.of.hearing|closed.caption",
    r"hörgeschädigt|malentendant|non.udenti|\bsordos\b|\bsurdos\b|slechthorend",
)


def is_commentary_title(title: str) -> bool:
    """Return True if a title is that of a commentary or an audio description."""
    return bool(_COMMENTARY.search(title))


def apply_title(track: SubtitleTrack) -> SubtitleTrack:
    """Return the track with the flags and the script or region that its title names.

    The tokens of a file name count as a title.
    """
    title = track.title
    if not title:
        return track
    return replace(
        track,
        language=refine(track.language, title) if track.language is not None else None,
        is_forced=track.is_forced or bool(_FORCED.search(title)),
        is_hearing_impaired=track.is_hearing_impaired or bool(_HEARING_IMPAIRED.search(title)),
        is_commentary=track.is_commentary or is_commentary_title(title),
        is_signs=bool(_SIGNS.search(title)) and not _FULL_DIALOGUE.search(title),
    )
