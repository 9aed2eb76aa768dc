"""Accounts of the fake server and the tracks that play by default for them."""

from dataclasses import dataclass
from typing import Any

from tests.fakes.jellyfin.library import SERVER_ID
from tests.fakes.jellyfin.names import Version


@dataclass
class User:
    """One account.

    Attributes:
        mode: Subtitle mode: Default, Smart, Always, OnlyForced or None.
        languages: Preferred subtitle languages, separated by commas.
        audio: Preferred audio language; empty for none.
        may_be_changed: False if the server refuses to change the account's settings.
    """

    name: str
    id: str
    password: str = "x"
    is_admin: bool = False
    mode: str = "Default"
    languages: str = ""
    audio: str = ""
    may_be_changed: bool = True

    def dto(self) -> dict[str, Any]:
        return {
            "Name": self.name,
            "ServerId": SERVER_ID,
            "Id": self.id,
            "HasPassword": True,
            "HasConfiguredPassword": True,
            "HasConfiguredEasyPassword": False,
            "EnableAutoLogin": False,
            "Configuration": {
                "PlayDefaultAudioTrack": True,
                "SubtitleLanguagePreference": self.languages,
                **({"AudioLanguagePreference": self.audio} if self.audio else {}),
                "DisplayMissingEpisodes": False,
                "GroupedFolders": [],
                "SubtitleMode": self.mode,
                "DisplayCollectionsView": False,
                "EnableLocalPassword": False,
                "OrderedViews": [],
                "LatestItemsExcludes": [],
                "MyMediaExcludes": [],
                "HidePlayedInLatest": True,
                "RememberAudioSelections": True,
                "RememberSubtitleSelections": True,
                "EnableNextEpisodeAutoPlay": True,
            },
            "Policy": {
                "IsAdministrator": self.is_admin,
                "AuthenticationProviderId": "Default",
                "PasswordResetProviderId": "Default",
            },
        }


def select_audio(streams: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the audio stream that plays without a preferred language: the default one, else the first."""
    tracks = [stream for stream in streams if stream["Type"] == "Audio"]
    return next((stream for stream in tracks if stream.get("IsDefault")), tracks[0] if tracks else None)


def select_subtitle(user: User, streams: list[dict[str, Any]], version: Version) -> int | None:
    """Return the index of the subtitle track that plays by default for a user (J22); None for no track."""
    subtitles = [stream for stream in streams if stream["Type"] == "Subtitle"]
    preferred = [language for language in user.languages.split(",") if language]

    def is_preferred(stream: dict[str, Any]) -> bool:
        return stream.get("Language") in preferred

    def is_forced(stream: dict[str, Any]) -> bool:
        return bool(stream.get("IsForced"))

    candidates: list[dict[str, Any]] = []
    if user.mode == "Default":
        candidates = sorted(
            (
                stream
                for stream in subtitles
                if stream.get("IsExternal") or stream.get("IsDefault") or is_forced(stream)
            ),
            key=lambda stream: (
                not stream.get("IsExternal"),
                not stream.get("IsDefault"),
                not is_preferred(stream),
            ),
        )
    elif user.mode == "Smart":
        audio = select_audio(streams) or {}
        candidates = [stream for stream in subtitles if is_preferred(stream)]
        if audio.get("Language") in preferred:
            candidates = [stream for stream in candidates if is_forced(stream)]
    elif user.mode == "Always":
        candidates = [stream for stream in subtitles if is_preferred(stream) and not is_forced(stream)]
        if version < (10, 11, 0):
            candidates += [stream for stream in subtitles if stream.get("IsExternal")]
        candidates += [stream for stream in subtitles if is_forced(stream)]
    elif user.mode == "OnlyForced":
        candidates = [
            stream
            for stream in subtitles
            if is_forced(stream) and (is_preferred(stream) or not stream.get("Language"))
        ]
    return candidates[0]["Index"] if candidates else None
