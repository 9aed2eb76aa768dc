"""Fields of unexpected types: the item is skipped with a reason, and nothing raises an error."""

from typing import Any

import pytest
from fluxcaption.jellyfin.parse import EPOCH, UNREADABLE, read_item, read_libraries, read_time

ID = "1" * 32
AUDIO = {"Type": "Audio", "Index": 1, "Language": "eng", "Codec": "aac"}
SUBTITLE = {
    "Type": "Subtitle",
    "Index": 2,
    "Language": "ger",
    "Codec": "subrip",
    "IsTextSubtitleStream": True,
}
FIELDS = ("Id", "Path", "Size", "RunTimeTicks", "Protocol", "ETag", "MediaStreams")
WRONG: tuple[Any, ...] = (None, 5, 1.5, True, "", "text", [], [None], [5], {}, {"Name": 1})


def item(source: dict[str, Any], **fields: Any) -> dict[str, Any]:
    complete_source = {
        "Id": ID,
        "Path": "/media/Film.mkv",
        "Size": 5,
        "RunTimeTicks": 10_000_000,
        "Protocol": "File",
        "MediaStreams": [AUDIO, SUBTITLE],
    }
    return {
        "Id": ID,
        "Name": "Film",
        "Type": "Movie",
        "ServerId": "2" * 32,
        "MediaSources": [{**complete_source, **source}],
        **fields,
    }


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_a_field_of_any_type_raises_no_error(wrong: Any) -> None:
    for name in FIELDS:
        read_item(item({name: wrong}))
    for name in (
        "Name",
        "Type",
        "ServerId",
        "Etag",
        "DateCreated",
        "SeriesName",
        "SeriesId",
        "Tags",
        "OriginalLanguage",
        "VideoType",
        "MediaSources",
    ):
        read_item(item({}, **{name: wrong}))
    for stream in (AUDIO, SUBTITLE):
        for name in (*stream, "Title", "Path", "IsExternal", "IsForced"):
            read_item(item({"MediaStreams": [{**stream, name: wrong}]}))
    for name in ("LibraryOptions", "CollectionType", "Name", "ItemId"):
        read_libraries([{"ItemId": ID, "Name": "Films", name: wrong}])


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ({"MediaStreams": "none"}, "MediaStreams is not a list"),
        ({"MediaStreams": [AUDIO, None]}, "MediaStreams is not a list of objects"),
        ({"Size": "large"}, "Size is not a whole number"),
        ({"RunTimeTicks": []}, "RunTimeTicks is not a whole number"),
    ],
)
def test_an_item_with_invalid_fields_is_skipped_with_the_reason(source: dict[str, Any], reason: str) -> None:
    read = read_item(item(source))
    assert read.skipped.startswith(UNREADABLE)
    assert reason in read.skipped
    assert read.is_probe_pending, "the next scan reads the item again"
    assert [(part.id, part.audio, part.subtitles) for part in read.sources] == [(ID, (), ())]


def test_missing_text_fields_are_read_as_empty() -> None:
    read = read_item(item({"Path": None}, Name=None, SeriesName=None))
    assert (read.name, read.series, read.sources[0].path) == ("", "", "")


@pytest.mark.parametrize(
    "text", [None, 5, "", "soon", "2025-13-01T00:00:00Z", "2025-02-30T00:00:00.1234567Z"]
)
def test_an_unreadable_time_is_read_as_1970(text: object) -> None:
    assert read_time(text) == EPOCH
