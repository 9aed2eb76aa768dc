"""Writing and deleting subtitle tracks: by upload, or as a sidecar in a mapped folder."""

import asyncio
import base64
import logging
from pathlib import Path

from fluxcaption.domain.errors import ItemGone, ServerRefusesUploads, ServiceUnreachable, WriteRefused
from fluxcaption.domain.media import FinishedTrack, MediaSource, SubtitleTrack
from fluxcaption.domain.units import ItemId
from fluxcaption.jellyfin.answer import SERVICE, Answer
from fluxcaption.jellyfin.client import JellyfinClient
from fluxcaption.jellyfin.paths import PathMap
from fluxcaption.jellyfin.track_reader import FetchItem
from fluxcaption.jellyfin.versions import REFUSES_ALL_UPLOADS, Version
from fluxcaption.ports.files import SidecarWriter
from fluxcaption.settings import JellyfinConfig

log = logging.getLogger(__name__)

UPLOAD_TIMEOUT_S = 60.0
DELETE_TIMEOUT_S = 120.0
"""Longest waits for an answer (notes/jellyfin-server.md J6)."""


class JellyfinTrackWriter:
    """Writes and deletes tracks.

    Every method may raise ServiceUnreachable or KeyRejected.

    Attributes:
        version: Version of the server, set after each connect; decides whether uploads are possible.
    """

    def __init__(
        self,
        client: JellyfinClient,
        settings: JellyfinConfig,
        paths: PathMap,
        write_sidecar: SidecarWriter,
        fetch_item: FetchItem,
    ) -> None:
        self._client = client
        self._mode = settings.write
        self._paths = paths
        self._write_sidecar = write_sidecar
        self._fetch_item = fetch_item
        self.version: Version = (0, 0, 0)

    @property
    def writes_by_upload(self) -> bool:
        """Return True if finished tracks are uploaded, and written as sidecars only after a refusal."""
        return self._mode != "sidecar" and self.version != REFUSES_ALL_UPLOADS

    async def upload(self, source: MediaSource, track: FinishedTrack) -> None:
        """Upload a track, or write it as a sidecar if uploads are disabled or impossible (J29 to J32).

        With `server.write: auto`, a refused upload to a mapped folder is replaced by a sidecar.

        Raises:
            ItemGone: The server does not know the media source.
            ServerRefusesUploads: The server refused the upload, and there is no mapped folder.
            WriteRefused: The mapped folder cannot be written.
            DiskLow: The mapped folder's disk is full.
        """
        media = await asyncio.to_thread(self._paths.local_file, source)
        if not self.writes_by_upload:
            await self._write_finished(self._required_local_file(media), source, track)
            return
        answer = await self._send_upload(source, track)
        if answer.status == 404:
            raise ItemGone(source.id)
        if answer.status < 400:
            return
        if media is not None and self._mode == "auto":
            await self._write_finished(media, source, track)
            return
        raise _upload_refused(answer, track.file_name(source.stem))

    def _required_local_file(self, media: Path | None) -> Path:
        """Return the mapped media file that a sidecar is written beside.

        Raises:
            ServerRefusesUploads: The media is not mapped, or the settings allow uploads only.
        """
        if self._mode == "sidecar":
            if media is None:
                raise ServerRefusesUploads(
                    "server.write is sidecar, but server.path_map does not lead to the media file",
                    was_sent=False,
                )
            return media
        if media is None or self._mode == "upload":
            raise ServerRefusesUploads(
                "Jellyfin 10.11.7 refuses every upload: update Jellyfin, or set server.path_map",
                was_sent=False,
            )
        return media

    async def _send_upload(self, source: MediaSource, track: FinishedTrack) -> Answer:
        """Send the upload once. Error statuses are returned."""
        body = {
            "Language": f"{track.marker}.{track.target.file_suffix}",
            "Format": track.extension,
            "IsForced": False,
            "IsHearingImpaired": False,
            "Data": base64.b64encode(track.content).decode(),
        }
        return await self._client.call(
            "POST",
            f"/Videos/{source.id}/Subtitles",
            body=body,
            timeout_s=UPLOAD_TIMEOUT_S,
            expected=frozenset({400, 404, 413, 500}),
        )

    async def _write_finished(self, media: Path, source: MediaSource, track: FinishedTrack) -> None:
        """Write a finished track beside the mapped media file, and refresh the item."""
        await asyncio.to_thread(self._write_sidecar, media, track.file_name(source.stem), track.content)
        await self.refresh(ItemId(source.id))

    async def write_sidecar(self, source: MediaSource, name: str, content: bytes) -> bool:
        """Write a file beside the mapped media and refresh the item.

        Returns:
            False if the media is not mapped, the settings allow uploads only, or the folder is not writable.

        Raises:
            DiskLow: The disk is full.
        """
        media = await asyncio.to_thread(self._paths.local_file, source)
        if media is None or self._mode == "upload":
            return False
        try:
            await asyncio.to_thread(self._write_sidecar, media, name, content)
        except WriteRefused as error:
            log.info("a sidecar was not written locally and is left to the server: %s", error)
            return False
        await self.refresh(ItemId(source.id))
        return True

    async def refresh(self, item_id: ItemId) -> None:
        """Request the lightest refresh that lists a new sidecar (J39); a missing item is not an error."""
        params = {
            "metadataRefreshMode": "ValidationOnly",
            "imageRefreshMode": "None",
            "replaceAllMetadata": "false",
            "replaceAllImages": "false",
        }
        await self._client.call("POST", f"/Items/{item_id}/Refresh", params=params, expected=frozenset({404}))

    async def delete(self, item_id: ItemId, source: MediaSource, track: SubtitleTrack) -> None:
        """Delete one external track; a track that is already gone is not an error.

        A mapped file is deleted by its path. Otherwise the server deletes by an index that is read again
        first, and the tracks before and after are compared (J38).

        Raises:
            WriteRefused: The server could not delete the track, or still lists it.
        """
        if await asyncio.to_thread(self._delete_local_file, source, track):
            await self.refresh(ItemId(source.id))
            return
        before = (await self._fetch_item(item_id)).source(source.id)
        listed = _find_external(before, track.path)
        if listed is None:
            return
        await self._send_deletion(source, listed, track.file_name)
        after = (await self._fetch_item(item_id)).source(source.id)
        self._check_deletion(before, after, track)

    def _delete_local_file(self, source: MediaSource, track: SubtitleTrack) -> bool:
        """Delete a track in a mapped folder. Return False if that is not possible. Blocks."""
        media = self._paths.local_file(source)
        if media is None or self._mode == "upload" or track.folder != source.folder:
            return False
        try:
            (media.parent / track.file_name).unlink()
        except OSError:
            return False
        return True

    async def _send_deletion(self, source: MediaSource, listed: SubtitleTrack, name: str) -> None:
        """Send the deletion of a track by its current index.

        Raises:
            WriteRefused: The server failed to delete the file (status 500).
            ServiceUnreachable: Any other error status.
        """
        answer = await self._client.call(
            "DELETE",
            f"/Videos/{source.id}/Subtitles/{listed.handle}",
            timeout_s=DELETE_TIMEOUT_S,
            expected=frozenset({400, 404, 500}),
        )
        if answer.status == 500:
            raise WriteRefused(name, "the server could not delete it")
        if answer.status >= 400:
            detail = f"status {answer.status} for the deletion of {name}"
            raise ServiceUnreachable(SERVICE, self._client.url, detail)

    def _check_deletion(
        self, before: MediaSource | None, after: MediaSource | None, track: SubtitleTrack
    ) -> None:
        """Check that the track disappeared, and no other external track.

        Raises:
            WriteRefused: The server still lists the track.
        """
        lost = _external_paths(before) - _external_paths(after) - {track.path}
        if lost:
            log.error(
                "a file of another origin disappeared during the deletion of our track: %s",
                ", ".join(sorted(map(str, lost))),
                extra={"track": track.path},
            )
        if _find_external(after, track.path) is not None:
            log.error(
                "our track was still listed after its deletion: "
                "a file that was added in the same moment may have been deleted instead",
                extra={"track": track.path},
            )
            raise WriteRefused(track.file_name, "the server still lists it after its deletion")


def _upload_refused(answer: Answer, name: str) -> ServerRefusesUploads:
    if answer.status == 413:
        return ServerRefusesUploads("a proxy limits the size of requests (status 413): raise its limit")
    return ServerRefusesUploads(
        f"status {answer.status} for {name}: is the folder of the media writable for Jellyfin?"
    )


def _external_paths(source: MediaSource | None) -> frozenset[str | None]:
    if source is None:
        return frozenset()
    return frozenset(track.path for track in source.subtitles if track.is_external)


def _find_external(source: MediaSource | None, path: str | None) -> SubtitleTrack | None:
    tracks = source.subtitles if source is not None else ()
    return next((track for track in tracks if track.is_external and track.path == path), None)
