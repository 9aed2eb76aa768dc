"""Items, media sources and tracks."""

import pytest
from fluxcaption.domain.media import is_picture_codec


@pytest.mark.parametrize(
    "codec",
    [
        "PGSSUB", "hdmv_pgs_subtitle", "DVDSUB", "dvd_subtitle", "DVBSUB", "dvb_subtitle", "xsub", "sup",
        "sub", "DVBTXT", "dvb_teletext",
    ],
)  # fmt: skip
def test_an_image_codec_is_known_by_every_spelling(codec: str) -> None:
    assert is_picture_codec(codec)


@pytest.mark.parametrize(
    "codec",
    [
        "subrip", "ass", "ssa", "mov_text", "webvtt", "ttml", "microdvd", "text", "eia_608",
        "hdmv_text_subtitle",
    ],
)  # fmt: skip
def test_a_text_codec_is_no_image_codec(codec: str) -> None:
    assert not is_picture_codec(codec)
