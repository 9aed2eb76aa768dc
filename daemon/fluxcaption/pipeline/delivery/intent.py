"""Intent: the delivery of a finished track, as it is stored before the server is changed."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace

from fluxcaption.domain.deliveries import Delivery
from fluxcaption.domain.sources import is_machine_made
from fluxcaption.domain.units import Fingerprint
from fluxcaption.pipeline.delivery.context import DeliveryContext, DeliveryDeps
from fluxcaption.pipeline.delivery.own_tracks import OWN_FILE_NAME, ReadTrack, hash_of


def new_intent(deps: DeliveryDeps, context: DeliveryContext) -> Delivery:
    """Return the delivery of the finished track, with the track that an interrupted run replaced."""
    job, item, source, track = context.job, context.item, context.source, context.track
    now = deps.clock.now()
    details = {
        "program": f"FluxCaption {deps.version}",
        **asdict(job.provenance),
        "source": job.source_ref,
        "settings": deps.planner.skip_key,
        "content": track.content_hash,
        "at": now.isoformat(),
    }
    intent = Delivery(
        server_id=item.server_id,
        source_id=source.id,
        target=job.target,
        content_hash=track.content_hash,
        file_name=track.file_name(source.stem),
        details=json.dumps(details, ensure_ascii=False),
        intended_at=now,
        item_id=item.id,
        title=item.name,
        fingerprint=job.fingerprint or Fingerprint(""),
        media_revision=source.revision,
        cues_hash=deps.own_tracks.cues_hash(OWN_FILE_NAME, track.content),
        provenance=job.provenance,
        is_requested=job.request.redo and _has_human_track(deps, context),
    )
    last_delivery = context.last_delivery
    if last_delivery is None or not last_delivery.previous_ref:
        return intent
    return replace(
        intent,
        previous=last_delivery.previous or last_delivery,
        previous_ref=last_delivery.previous_ref,
    )


async def new_intent_keeping(
    deps: DeliveryDeps, context: DeliveryContext, own: Sequence[ReadTrack]
) -> Delivery:
    """Return the delivery of the finished track; keep the bytes of the first existing track for a restore."""
    intent, last_delivery = new_intent(deps, context), context.last_delivery
    if not own or last_delivery is None:
        return intent
    content = own[0].content
    if (
        deps.own_tracks.is_partial(last_delivery, content, context.track)
        or hash_of(content) == last_delivery.previous_ref
    ):
        return intent
    return replace(
        intent,
        previous=last_delivery.without_previous(),
        previous_ref=await deps.documents.put(content),
    )


def _has_human_track(deps: DeliveryDeps, context: DeliveryContext) -> bool:
    marker = deps.planner.policy.marker
    return any(not is_machine_made(track, marker, context.history.tracks) for track in context.foreign_tracks)
