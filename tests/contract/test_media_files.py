"""Media files through PyAV: tracks, audio samples with their times, text, remote files, and invalid files."""

import asyncio
import contextlib
import itertools
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from aiohttp import web
from fluxcaption.domain.errors import KeyRejected, MediaUnreadable, ServiceUnreachable, SubtitleUnreadable
from fluxcaption.domain.units import Ms
from fluxcaption.media.files import MediaFiles
from fluxcaption.media.remote import RemoteFile
from fluxcaption.media.sketch import EnergySketcher
from fluxcaption.ports.media import MediaLocation

from tests.fakes.media import RATE, repeated, sound_clip
from tests.support.app import DEMO, SPEECH_FILM, TEXT_FILM

MEDIA = MediaFiles()
CLIP = MediaLocation(str(DEMO / SPEECH_FILM / f"{SPEECH_FILM}.mkv"))
TEXT = MediaLocation(str(DEMO / TEXT_FILM / f"{TEXT_FILM}.mkv"))
CERTIFICATE = Path(__file__).parents[1] / "data" / "self-signed.pem"
Samples = npt.NDArray[np.float32]


def beeps(length_s: float, every_s: float = 1.0, rate: int = RATE) -> Samples:
    """Return a tone of 0.1 s at the start of each period."""
    time = np.arange(int(length_s * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * 600 * time) * ((time % every_s) < 0.1)).astype(np.float32)


def read_audio(
    location: MediaLocation, ordinal: int = 0, start: int = 0, stop: int | None = None
) -> tuple[int, Samples]:
    blocks = list(MEDIA.blocks(location, ordinal, Ms(start), None if stop is None else Ms(stop)))
    for (start_ms, samples), (next_ms, _) in itertools.pairwise(blocks):
        assert next_ms - start_ms == len(samples) // 16
        assert len(samples) <= 10 * RATE
    return blocks[0][0], np.concatenate([samples for _, samples in blocks])


def onsets(samples: Samples) -> list[int]:
    """Return the starts of the beeps, in ms."""
    loud = np.abs(samples) > 0.1
    quiet_before = np.array([not loud[max(0, at - 2000) : at].any() for at in np.flatnonzero(loud)])
    return [int(at) // 16 for at in np.flatnonzero(loud)[quiet_before]]


def test_tracks_are_described(tmp_path: Path) -> None:
    duration, audio, subtitles = MEDIA.probe(TEXT)
    assert 60_000 < duration < 63_000
    assert [(track.ordinal, str(track.language), track.codec) for track in audio] == [(0, "en", "opus")]
    assert [(track.ordinal, str(track.language), track.is_text) for track in subtitles] == [(0, "en", True)]


def test_a_track_title_that_is_not_unicode_is_accepted(tmp_path: Path) -> None:
    clip = sound_clip(tmp_path / "odd.mkv", [("eng", beeps(2))])
    title = "Kommentar*"
    with av.open(str(tmp_path / "titled.mkv"), "w") as out, av.open(str(clip)) as source:
        stream = out.add_stream_from_template(source.streams.audio[0])
        stream.metadata["title"] = title
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    content = (tmp_path / "titled.mkv").read_bytes()
    (tmp_path / "titled.mkv").write_bytes(content.replace(title.encode(), b"Kommentar\xe9"))
    _, (track,), _ = MEDIA.probe(MediaLocation(str(tmp_path / "titled.mkv")))
    assert (track.title, track.is_commentary) == ("Kommentar�", True)
    assert read_audio(MediaLocation(str(tmp_path / "titled.mkv")))[0] == 0


@pytest.mark.parametrize(
    ("rate", "layout", "suffix"),
    [(16_000, "mono", "mkv"), (44_100, "stereo", "mkv"), (48_000, "stereo", "flac")],
)
def test_audio_of_any_format_is_converted_to_16_khz_mono(
    rate: int, layout: str, suffix: str, tmp_path: Path
) -> None:
    clip = sound_clip(tmp_path / f"a.{suffix}", [("eng", beeps(25, rate=rate))], rate=rate, layout=layout)
    start, samples = read_audio(MediaLocation(str(clip)))
    assert start == 0
    assert len(samples) / RATE == pytest.approx(25, abs=0.05)
    assert onsets(samples) == pytest.approx([second * 1000 for second in range(25)], abs=3)


def test_the_chosen_audio_track_is_read(tmp_path: Path) -> None:
    clip = sound_clip(tmp_path / "two.mkv", [("eng", beeps(5)), ("jpn", beeps(5, 2.0))])
    assert len(onsets(read_audio(MediaLocation(str(clip)), 0)[1])) == 5
    assert len(onsets(read_audio(MediaLocation(str(clip)), 1)[1])) == 3


@pytest.mark.parametrize("start", [0, 3_500, 12_000, 20_010])
def test_reading_from_the_middle_keeps_the_times_of_the_film(start: int, tmp_path: Path) -> None:
    clip = sound_clip(tmp_path / "a.mkv", [("eng", beeps(25))])
    first, samples = read_audio(MediaLocation(str(clip)), start=start)
    assert first == start
    expected = [second * 1000 - start for second in range(25) if second * 1000 >= start]
    assert [onset for onset in onsets(samples) if onset > 150 or start % 1000 == 0] == pytest.approx(
        expected, abs=8
    )


def test_only_the_requested_range_is_read(tmp_path: Path) -> None:
    clip = sound_clip(tmp_path / "a.mkv", [("eng", beeps(25))])
    start, samples = read_audio(MediaLocation(str(clip)), start=5_000, stop=15_000)
    assert (start, len(samples)) == (5_000, 10 * RATE)


def test_a_fingerprint_depends_on_the_content_only(tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere.mkv"
    copy.write_bytes(Path(CLIP.address).read_bytes())
    one, other = MEDIA.identify(CLIP, Ms(70_000)), MEDIA.identify(MediaLocation(str(copy)), Ms(70_000))
    assert one.fingerprint == other.fingerprint
    assert MEDIA.identify(TEXT, Ms(70_000)).fingerprint != one.fingerprint


def test_an_embedded_text_track_is_extracted() -> None:
    text = MEDIA.text_track(TEXT, 0)
    assert len(text.cues) == 19
    assert text.cues[0].lines == ("The farmer needs the cat.",)
    with pytest.raises(SubtitleUnreadable, match="no embedded subtitle track 2"):
        MEDIA.text_track(TEXT, 1)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "it is empty"), (b"hello " * 1000, "not a media file"), (None, "it does not exist")],
)
def test_a_file_without_media_is_reported(content: bytes | None, words: str, tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MediaUnreadable, match=words):
        MEDIA.probe(MediaLocation(str(path)))


def test_a_path_with_a_protocol_prefix_is_read_as_a_path(tmp_path: Path) -> None:
    with pytest.raises(MediaUnreadable):
        MEDIA.probe(MediaLocation("concat:/etc/passwd|/etc/hosts"))


def test_remuxed_audio_is_recognized_and_other_audio_is_not(tmp_path: Path) -> None:
    sketcher = EnergySketcher(MEDIA)
    remuxed = MediaLocation(str(repeated(Path(CLIP.address), tmp_path / "b.webm", 1)))
    duration = Ms(70_000)
    one = sketcher.sketch(CLIP, 0, duration)
    assert sketcher.is_same(one, sketcher.sketch(remuxed, 0, duration))
    assert not sketcher.is_same(one, sketcher.sketch(TEXT, 0, duration))
    assert not sketcher.is_same(one, b"")


def test_another_encoding_of_the_audio_is_recognized(tmp_path: Path) -> None:
    _, samples = read_audio(CLIP)
    again = sound_clip(tmp_path / "c.mka", [("eng", samples * 0.7)], codec="flac")
    sketcher = EnergySketcher(MEDIA)
    assert sketcher.is_same(
        sketcher.sketch(CLIP, 0, Ms(70_000)), sketcher.sketch(MediaLocation(str(again)), 0, Ms(70_000))
    )


def test_a_broadcast_whose_times_and_layout_change_is_read_to_the_end(tmp_path: Path) -> None:
    parts = [
        sound_clip(
            tmp_path / f"{layout}.ts",
            [("eng", beeps(6, rate=48_000))],
            rate=48_000,
            layout=layout,
            codec="mp2",
        )
        for layout in ("stereo", "mono")
    ]
    joined = tmp_path / "broadcast.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    _, samples = read_audio(MediaLocation(str(joined)))
    assert len(samples) / RATE == pytest.approx(12, abs=0.3)
    assert len(onsets(samples)) == 12


def test_a_far_jump_of_the_time_stamps_is_ignored(tmp_path: Path) -> None:
    clip = sound_clip(tmp_path / "a.mkv", [("eng", beeps(5))], start_s=10, then=(1000 * 3600.0, beeps(5)))
    _, samples = read_audio(MediaLocation(str(clip)))
    assert len(onsets(samples)) == 10
    assert len(samples) / RATE < 60


class FaultyMediaServer:
    """A web server for one clip.

    Attributes:
        requests: Host and credentials of each request.
        closes: Number of later ranges for which the connection is closed.
        resets: Number of later ranges for which the connection is reset within the body.
        address: URL of the server.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, str]] = []
        self.closes = 0
        self.resets = 0
        self.address = ""

    async def film(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.host, request.headers.get("Authorization", "")))
        if request.headers.get("Authorization") != "right":
            return web.Response(status=401)
        assert request.transport is not None
        if self.closes and not request.headers["Range"].startswith("bytes=0-"):
            self.closes -= 1
            request.transport.close()
        if self.resets and not request.headers["Range"].startswith("bytes=0-"):
            self.resets -= 1
            size = Path(CLIP.address).stat().st_size
            content_range = request.headers["Range"].replace("=", " ") + f"/{size}"
            headers = {"Content-Range": content_range, "Content-Length": "5000"}
            response = web.StreamResponse(status=206, headers=headers)
            await response.prepare(request)
            await response.write(b"x" * 100)
            # The client reads the headers and waits for the body.
            await asyncio.sleep(0.1)
            request.transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            request.transport.abort()
            return response
        return web.FileResponse(CLIP.address)

    async def redirect(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.host, request.headers.get("Authorization", "")))
        raise web.HTTPFound(self.address.replace("127.0.0.1", "localhost") + "/film")

    async def playlist(self, request: web.Request) -> web.StreamResponse:
        body = (
            f"#EXTM3U\n#EXT-X-TARGETDURATION:70\n#EXTINF:70,\n{self.address}/film\n#EXT-X-ENDLIST\n".encode()
        )
        return web.Response(
            status=206, body=body, headers={"Content-Range": f"bytes 0-{len(body) - 1}/{len(body)}"}
        )

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/film", self.film)
        app.router.add_get("/redirect", self.redirect)
        app.router.add_get("/film.m3u8", self.playlist)
        return app


@contextlib.asynccontextmanager
async def listening(server: FaultyMediaServer, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    runner = web.AppRunner(server.app(), access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    server.address = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    yield server.address
    await runner.cleanup()


KEY = (("Authorization", "right"),)


async def test_reading_continues_after_a_closed_connection() -> None:
    server = FaultyMediaServer()
    async with listening(server) as address:
        server.closes = 2
        _, samples = await asyncio.to_thread(read_audio, MediaLocation(f"{address}/film", KEY))
    assert np.array_equal(samples, read_audio(CLIP)[1])


async def test_reading_continues_after_a_reset_within_a_response() -> None:
    server = FaultyMediaServer()
    async with listening(server) as address:
        server.resets = 2
        _, samples = await asyncio.to_thread(read_audio, MediaLocation(f"{address}/film", KEY))
    assert np.array_equal(samples, read_audio(CLIP)[1])


async def test_a_remote_file_can_be_seeked_from_its_end() -> None:
    def seek_and_read(location: MediaLocation) -> tuple[int, int]:
        with RemoteFile(location) as file:
            file.seek(-10, 2)
            return file.size_bytes - file.tell(), len(file.read(100))

    async with listening(FaultyMediaServer()) as address:
        location = MediaLocation(f"{address}/film", KEY)
        assert await asyncio.to_thread(seek_and_read, location) == (10, 10)


@pytest.mark.parametrize("call", ["probe", "identify"])
async def test_the_key_is_sent_only_to_the_trusted_host_itself(call: str) -> None:
    def read(location: MediaLocation) -> object:
        return MEDIA.probe(location) if call == "probe" else MEDIA.identify(location, Ms(1))

    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(CERTIFICATE)
    server = FaultyMediaServer()
    async with listening(server, tls) as address:
        with pytest.raises(ServiceUnreachable, match="certificate"):
            await asyncio.to_thread(read, MediaLocation(f"{address}/film", KEY))
        assert server.requests == []
        assert await asyncio.to_thread(read, MediaLocation(f"{address}/film", KEY, str(CERTIFICATE)))
    server = FaultyMediaServer()
    async with listening(server) as address:
        with pytest.raises(ServiceUnreachable, match="redirects"):
            await asyncio.to_thread(read, MediaLocation(f"{address}/redirect", KEY))
        assert [host.split(":")[0] for host, _ in server.requests] == ["127.0.0.1"]


async def test_a_remote_playlist_is_not_followed() -> None:
    server = FaultyMediaServer()
    async with listening(server) as address:
        with pytest.raises(MediaUnreadable):
            await asyncio.to_thread(MEDIA.probe, MediaLocation(f"{address}/film.m3u8", KEY))
        assert server.requests == []


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Callable[[str], MediaLocation]]:
    """Yield a function that returns a location on a server of the clip, with the accepted key."""

    async def film(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != "right":
            return web.Response(status=401)
        return web.FileResponse(CLIP.address)

    async def without_ranges(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"x" * 100)

    app = web.Application()
    app.router.add_get("/film", film)
    app.router.add_get("/without-ranges", without_ranges)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield lambda path: MediaLocation(
        f"http://127.0.0.1:{runner.addresses[0][1]}{path}", (("Authorization", "right"),)
    )
    await runner.cleanup()


async def test_remote_media_is_read_like_the_local_file(served: Callable[[str], MediaLocation]) -> None:
    remote = served("/film")
    assert "right" not in repr(remote)
    identity = await asyncio.to_thread(MEDIA.identify, remote, Ms(70_000))
    assert identity == MEDIA.identify(CLIP, Ms(70_000))
    _, samples = await asyncio.to_thread(read_audio, remote, 0, 30_000)
    _, local = read_audio(CLIP, 0, 30_000)
    assert np.array_equal(samples, local)


async def test_faults_of_remote_media_are_reported(served: Callable[[str], MediaLocation]) -> None:
    good = served("/film")
    with pytest.raises(KeyRejected):
        await asyncio.to_thread(MEDIA.identify, MediaLocation(good.address), Ms(1))
    with pytest.raises(ServiceUnreachable, match="does not serve ranges"):
        await asyncio.to_thread(MEDIA.identify, served("/without-ranges"), Ms(1))
    with pytest.raises(ServiceUnreachable):
        await asyncio.to_thread(MEDIA.probe, MediaLocation("http://127.0.0.1:9/film"))
    with pytest.raises(ServiceUnreachable):
        await asyncio.to_thread(MEDIA.identify, MediaLocation("http://127.0.0.1:9/film"), Ms(1))
