"""Media and text tracks of the server: where the bytes are, and the text of a subtitle track."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from fluxcaption.domain.errors import ReplyUnusable, SubtitleUnreadable
from fluxcaption.domain.media import Item, MediaSource, SubtitleTrack
from fluxcaption.domain.units import ItemId
from fluxcaption.jellyfin.answer import Answer, AnswerTooLarge
from fluxcaption.jellyfin.client import JellyfinClient
from fluxcaption.jellyfin.paths import PathMap
from fluxcaption.ports.media import MediaLocation
from fluxcaption.ports.subtitles import MAX_SUBTITLE_BYTES

ORIGINAL_FORMATS = frozenset({"srt", "vtt", "ass", "ssa", "ttml"})
"""Extensions that the server delivers unchanged; it converts any other text track to SubRip."""

READ_TIMEOUT_S = 30.0
EXTRACTION_TIMEOUT_S = 35 * 60.0
"""Limit for an embedded track: the server first reads the whole media file (notes/jellyfin-server.md J26)."""

FetchItem = Callable[[ItemId], Awaitable[Item]]


class JellyfinTrackReader:
    """Reads media locations and text tracks.

    Every method may raise ServiceUnreachable or KeyRejected.
    """

    def __init__(self, client: JellyfinClient, paths: PathMap, fetch_item: FetchItem) -> None:
        self._client = client
        self._paths = paths
        self._fetch_item = fetch_item

    async def local_file_exists(self, source: MediaSource) -> bool | None:
        """Return whether the mapped file exists and is not empty; None if the source is not mapped."""
        path = self._paths.local_path(source)
        return await asyncio.to_thread(_is_nonempty_file, path) if path is not None else None

    async def is_streamable(self, source: MediaSource) -> bool:
        """Return True if the server can open the media file."""
        answer = await self._client.call(
            "HEAD",
            f"/Videos/{source.id}/stream",
            params={"static": "true", "mediaSourceId": source.id},
            expected=frozenset({400, 404, 416, 500}),
        )
        return answer.status in {200, 206}

    async def sidecar_path(self, source: MediaSource, name: str) -> Path | None:
        """Return the local path of a file beside the media; None if the media is not mapped."""
        media = await asyncio.to_thread(self._paths.local_file, source)
        return media.parent / name if media is not None else None

    async def locate(self, source: MediaSource) -> MediaLocation:
        """Return the mapped file if it has the right size, otherwise the URL of the static stream (J28)."""
        media = await asyncio.to_thread(self._paths.local_file, source)
        if media is not None:
            return MediaLocation(str(media))
        url = f"{self._client.url}/Videos/{source.id}/stream?static=true&mediaSourceId={source.id}"
        return MediaLocation(url, (("Authorization", self._client.authorization()),), self._client.verify)

    async def read_text_track(self, item_id: ItemId, source: MediaSource, track: SubtitleTrack) -> bytes:
        """Return an external track in its own format, or an embedded track as ASS or SubRip (J24).

        The track is looked up again first, because its index may have changed (J18). The server caches an
        extracted track under an index that moves with every sidecar, and then returns the text of another
        track (J27). So an embedded track is not read while the media has sidecars.

        Raises:
            SubtitleUnreadable: The track is missing, unsafe to read, or larger than 4 MiB.
            ReplyUnusable: The server failed to read the track (status 500).
        """
        current = await self._find_current(item_id, source, track)
        name = current.file_name or source.stem
        extension = _requested_extension(current)
        path = f"/Videos/{source.id}/{source.id}/Subtitles/{current.handle}/Stream.{extension}"
        try:
            answer = await self._client.call(
                "GET",
                path,
                timeout_s=READ_TIMEOUT_S if current.is_external else EXTRACTION_TIMEOUT_S,
                expected=frozenset({400, 404, 500}),
                max_bytes=MAX_SUBTITLE_BYTES,
            )
        except AnswerTooLarge as error:
            raise SubtitleUnreadable(
                name, f"the file is larger than {MAX_SUBTITLE_BYTES // 2**20} MiB"
            ) from error
        return _content_of(answer, name, current)

    async def _find_current(
        self, item_id: ItemId, source: MediaSource, track: SubtitleTrack
    ) -> SubtitleTrack:
        """Return the track as the server lists it now.

        Raises:
            SubtitleUnreadable: The server does not list the track, or its cache is not reliable.
        """
        current_source = (await self._fetch_item(item_id)).source(source.id)
        tracks = current_source.subtitles if current_source is not None else ()
        current = next((candidate for candidate in tracks if candidate.key == track.key), None)
        if current is None:
            raise SubtitleUnreadable(track.file_name or source.stem, "the server no longer lists the track")
        if not track.is_external and any(candidate.is_external for candidate in tracks):
            raise SubtitleUnreadable(
                source.stem,
                "the server may return another track's text while subtitle files are beside the media",
            )
        return current


def _requested_extension(track: SubtitleTrack) -> str:
    """Return the extension under which the server delivers a track."""
    if not track.is_external:
        return "ass" if track.codec in {"ass", "ssa"} else "srt"
    extension = track.file_name.rsplit(".", 1)[-1].lower()
    return extension if extension in ORIGINAL_FORMATS else "srt"


def _content_of(answer: Answer, name: str, track: SubtitleTrack) -> bytes:
    """Return the body of a successful answer.

    Raises:
        ReplyUnusable: Status 500.
        SubtitleUnreadable: Any other error status.
    """
    if answer.status == 500:
        subject = name if track.is_external else f"a text track of {name}"
        raise ReplyUnusable(f"the server failed to read {subject} (status 500); the job is retried")
    if answer.status != 200:
        raise SubtitleUnreadable(name, f"the server does not deliver the track (status {answer.status})")
    return answer.body


def _is_nonempty_file(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False
