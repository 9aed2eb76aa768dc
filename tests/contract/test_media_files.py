"""Media files by PyAV: tracks, sound on the film's clock, text, and what is no media."""

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
from tests.support.app import DEMO, HEARD, READ

MEDIA = MediaFiles()
CLIP = MediaLocation(str(DEMO / HEARD / f"{HEARD}.mkv"))
TEXT = MediaLocation(str(DEMO / READ / f"{READ}.mkv"))
CERTIFICATE = Path(__file__).parents[1] / "data" / "self-signed.pem"
Samples = npt.NDArray[np.float32]


def beeps(length_s: float, every_s: float = 1.0, rate: int = RATE) -> Samples:
    """A tone in the first tenth of each second."""
    time = np.arange(int(length_s * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * 600 * time) * ((time % every_s) < 0.1)).astype(np.float32)


def heard(
    location: MediaLocation, ordinal: int = 0, start: int = 0, stop: int | None = None
) -> tuple[int, Samples]:
    blocks = list(MEDIA.blocks(location, ordinal, Ms(start), None if stop is None else Ms(stop)))
    for (at, samples), (after, _) in itertools.pairwise(blocks):
        assert after - at == len(samples) // 16
        assert len(samples) <= 10 * RATE
    return blocks[0][0], np.concatenate([samples for _, samples in blocks])


def onsets(samples: Samples) -> list[int]:
    """Milliseconds at which a beep begins."""
    loud = np.abs(samples) > 0.1
    quiet_before = np.array([not loud[max(0, at - 2000) : at].any() for at in np.flatnonzero(loud)])
    return [int(at) // 16 for at in np.flatnonzero(loud)[quiet_before]]


def test_tracks_are_described(tmp_path: Path) -> None:
    duration, audio, subtitles = MEDIA.probe(TEXT)
    assert 60_000 < duration < 63_000
    assert [(track.ordinal, str(track.language), track.codec) for track in audio] == [(0, "en", "opus")]
    assert [(track.ordinal, str(track.language), track.is_text) for track in subtitles] == [(0, "en", True)]


def test_a_title_that_is_no_text_is_no_obstacle(tmp_path: Path) -> None:
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
    assert heard(MediaLocation(str(tmp_path / "titled.mkv")))[0] == 0


@pytest.mark.parametrize(
    ("rate", "layout", "suffix"),
    [(16_000, "mono", "mkv"), (44_100, "stereo", "mkv"), (48_000, "stereo", "flac")],
)
def test_sound_of_any_kind_comes_as_16_khz_mono(rate: int, layout: str, suffix: str, tmp_path: Path) -> None:
    clip = sound_clip(tmp_path / f"a.{suffix}", [("eng", beeps(25, rate=rate))], rate=rate, layout=layout)
    start, samples = heard(MediaLocation(str(clip)))
    assert start == 0
    assert len(samples) / RATE == pytest.approx(25, abs=0.05)
    assert onsets(samples) == pytest.approx([second * 1000 for second in range(25)], abs=3)


def test_the_chosen_track_is_heard(tmp_path: Path) -> None:
    clip = sound_clip(tmp_path / "two.mkv", [("eng", beeps(5)), ("jpn", beeps(5, 2.0))])
    assert len(onsets(heard(MediaLocation(str(clip)), 0)[1])) == 5
    assert len(onsets(heard(MediaLocation(str(clip)), 1)[1])) == 3


@pytest.mark.parametrize("start", [0, 3_500, 12_000, 20_010])
def test_going_on_in_the_middle_keeps_the_films_clock(start: int, tmp_path: Path) -> None:
    clip = sound_clip(tmp_path / "a.mkv", [("eng", beeps(25))])
    first, samples = heard(MediaLocation(str(clip)), start=start)
    assert first == start
    expected = [second * 1000 - start for second in range(25) if second * 1000 >= start]
    assert [onset for onset in onsets(samples) if onset > 150 or start % 1000 == 0] == pytest.approx(
        expected, abs=8
    )


def test_only_the_wanted_stretch_is_read(tmp_path: Path) -> None:
    clip = sound_clip(tmp_path / "a.mkv", [("eng", beeps(25))])
    start, samples = heard(MediaLocation(str(clip)), start=5_000, stop=15_000)
    assert (start, len(samples)) == (5_000, 10 * RATE)


def test_the_same_file_has_one_name_and_another_another(tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere.mkv"
    copy.write_bytes(Path(CLIP.address).read_bytes())
    one, other = MEDIA.identify(CLIP, Ms(70_000)), MEDIA.identify(MediaLocation(str(copy)), Ms(70_000))
    assert one.fingerprint == other.fingerprint
    assert MEDIA.identify(TEXT, Ms(70_000)).fingerprint != one.fingerprint


def test_embedded_text_is_cut_out() -> None:
    text = MEDIA.text_track(TEXT, 0)
    assert len(text.cues) == 19
    assert text.cues[0].lines == ("The farmer needs the cat.",)
    with pytest.raises(SubtitleUnreadable, match="no embedded subtitle track 2"):
        MEDIA.text_track(TEXT, 1)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "it is empty"), (b"hello " * 1000, "not a media file"), (None, "it does not exist")],
)
def test_what_is_no_media_is_a_sentence(content: bytes | None, words: str, tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MediaUnreadable, match=words):
        MEDIA.probe(MediaLocation(str(path)))


def test_a_path_that_looks_like_a_protocol_is_only_a_path(tmp_path: Path) -> None:
    with pytest.raises(MediaUnreadable):
        MEDIA.probe(MediaLocation("concat:/etc/passwd|/etc/hosts"))


def test_a_remuxed_sound_is_known_and_another_is_not(tmp_path: Path) -> None:
    sketcher = EnergySketcher(MEDIA)
    remuxed = MediaLocation(str(repeated(Path(CLIP.address), tmp_path / "b.webm", 1)))
    duration = Ms(70_000)
    one = sketcher.sketch(CLIP, 0, duration)
    assert sketcher.is_same(one, sketcher.sketch(remuxed, 0, duration))
    assert not sketcher.is_same(one, sketcher.sketch(TEXT, 0, duration))
    assert not sketcher.is_same(one, b"")


def test_another_encoding_of_the_sound_is_known(tmp_path: Path) -> None:
    _, samples = heard(CLIP)
    again = sound_clip(tmp_path / "c.mka", [("eng", samples * 0.7)], codec="flac")
    sketcher = EnergySketcher(MEDIA)
    assert sketcher.is_same(
        sketcher.sketch(CLIP, 0, Ms(70_000)), sketcher.sketch(MediaLocation(str(again)), 0, Ms(70_000))
    )


def test_a_joined_broadcast_whose_clock_and_form_change_is_heard_to_the_end(tmp_path: Path) -> None:
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
    _, samples = heard(MediaLocation(str(joined)))
    assert len(samples) / RATE == pytest.approx(12, abs=0.3)
    assert len(onsets(samples)) == 12


def test_time_stamps_that_jump_far_ahead_move_no_sound(tmp_path: Path) -> None:
    clip = sound_clip(tmp_path / "a.mkv", [("eng", beeps(5))], start_s=10, then=(1000 * 3600.0, beeps(5)))
    _, samples = heard(MediaLocation(str(clip)))
    assert len(onsets(samples)) == 10
    assert len(samples) / RATE < 60


class Peer:
    """A server of media that can be told to misbehave, and keeps what it was asked."""

    def __init__(self) -> None:
        self.request: list[tuple[str, str]] = []
        self.breaks = 0
        self.resets = 0
        self.address = ""

    async def film(self, request: web.Request) -> web.StreamResponse:
        self.request.append((request.host, request.headers.get("Authorization", "")))
        if request.headers.get("Authorization") != "right":
            return web.Response(status=401)
        assert request.transport is not None
        if self.breaks and not request.headers["Range"].startswith("bytes=0-"):
            self.breaks -= 1
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

    async def elsewhere(self, request: web.Request) -> web.StreamResponse:
        self.request.append((request.host, request.headers.get("Authorization", "")))
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
        app.router.add_get("/elsewhere", self.elsewhere)
        app.router.add_get("/film.m3u8", self.playlist)
        return app


@contextlib.asynccontextmanager
async def listening(peer: Peer, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    runner = web.AppRunner(peer.app(), access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    peer.address = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    yield peer.address
    await runner.cleanup()


KEY = (("Authorization", "right"),)


async def test_a_connection_that_breaks_off_is_taken_up_where_it_was() -> None:
    peer = Peer()
    async with listening(peer) as address:
        peer.breaks = 2
        _, samples = await asyncio.to_thread(heard, MediaLocation(f"{address}/film", KEY))
    assert np.array_equal(samples, heard(CLIP)[1])


async def test_a_connection_that_is_reset_within_a_response_is_retried() -> None:
    peer = Peer()
    async with listening(peer) as address:
        peer.resets = 2
        _, samples = await asyncio.to_thread(heard, MediaLocation(f"{address}/film", KEY))
    assert np.array_equal(samples, heard(CLIP)[1])


async def test_a_remote_file_has_the_methods_that_pyav_needs_for_seeking() -> None:
    def seek_and_read(location: MediaLocation) -> tuple[int, int]:
        with RemoteFile(location) as file:
            file.seek(-10, 2)
            return file.size_bytes - file.tell(), len(file.read(100))

    async with listening(Peer()) as address:
        location = MediaLocation(f"{address}/film", KEY)
        assert await asyncio.to_thread(seek_and_read, location) == (10, 10)


@pytest.mark.parametrize("call", ["probe", "identify"])
async def test_the_key_goes_to_no_other_host_and_over_no_untrusted_line(call: str) -> None:
    def ask(location: MediaLocation) -> object:
        return MEDIA.probe(location) if call == "probe" else MEDIA.identify(location, Ms(1))

    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(CERTIFICATE)
    peer = Peer()
    async with listening(peer, tls) as address:
        with pytest.raises(ServiceUnreachable, match="certificate"):
            await asyncio.to_thread(ask, MediaLocation(f"{address}/film", KEY))
        assert peer.request == []
        assert await asyncio.to_thread(ask, MediaLocation(f"{address}/film", KEY, str(CERTIFICATE)))
    peer = Peer()
    async with listening(peer) as address:
        with pytest.raises(ServiceUnreachable, match="redirects"):
            await asyncio.to_thread(ask, MediaLocation(f"{address}/elsewhere", KEY))
        assert [host.split(":")[0] for host, _ in peer.request] == ["127.0.0.1"]


async def test_a_file_behind_http_names_no_other_address() -> None:
    peer = Peer()
    async with listening(peer) as address:
        with pytest.raises(MediaUnreadable):
            await asyncio.to_thread(MEDIA.probe, MediaLocation(f"{address}/film.m3u8", KEY))
        assert peer.request == []


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Callable[[str], MediaLocation]]:
    """The clip over HTTP, for one key."""

    async def film(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != "right":
            return web.Response(status=401)
        return web.FileResponse(CLIP.address)

    async def whole(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"x" * 100)

    app = web.Application()
    app.router.add_get("/film", film)
    app.router.add_get("/whole", whole)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield lambda path: MediaLocation(
        f"http://127.0.0.1:{runner.addresses[0][1]}{path}", (("Authorization", "right"),)
    )
    await runner.cleanup()


async def test_media_over_http_is_the_same_as_the_file(served: Callable[[str], MediaLocation]) -> None:
    remote = served("/film")
    assert "right" not in repr(remote)
    identity = await asyncio.to_thread(MEDIA.identify, remote, Ms(70_000))
    assert identity == MEDIA.identify(CLIP, Ms(70_000))
    _, samples = await asyncio.to_thread(heard, remote, 0, 30_000)
    _, local = heard(CLIP, 0, 30_000)
    assert np.array_equal(samples, local)


async def test_trouble_over_http_is_named(served: Callable[[str], MediaLocation]) -> None:
    good = served("/film")
    with pytest.raises(KeyRejected):
        await asyncio.to_thread(MEDIA.identify, MediaLocation(good.address), Ms(1))
    with pytest.raises(ServiceUnreachable, match="does not serve ranges"):
        await asyncio.to_thread(MEDIA.identify, served("/whole"), Ms(1))
    with pytest.raises(ServiceUnreachable):
        await asyncio.to_thread(MEDIA.probe, MediaLocation("http://127.0.0.1:9/film"))
    with pytest.raises(ServiceUnreachable):
        await asyncio.to_thread(MEDIA.identify, MediaLocation("http://127.0.0.1:9/film"), Ms(1))
