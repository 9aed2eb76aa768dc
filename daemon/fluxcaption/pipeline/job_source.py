"""The item and media source of a job, as the media server lists them now."""

from fluxcaption.domain.errors import ItemGone
from fluxcaption.domain.jobs import Job
from fluxcaption.domain.media import Item, MediaSource
from fluxcaption.ports.media_server import MediaServer


async def find_source(server: MediaServer, job: Job) -> tuple[Item, MediaSource]:
    """Fetch the item of a job. Return the item and the job's media source.

    Raises:
        ItemGone: The server does not list the item or this version of it any more.
    """
    item = await server.fetch_item(job.item_id)
    source = item.source(job.source_id)
    if source is None:
        raise ItemGone(job.source_id)
    return item, source
