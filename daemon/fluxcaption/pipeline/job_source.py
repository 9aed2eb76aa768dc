"""From a job back to its item as the library has it now."""

from fluxcaption.domain.errors import ItemGone
from fluxcaption.domain.jobs import Job
from fluxcaption.domain.media import Item, MediaSource
from fluxcaption.ports.media_server import LibraryReader


async def find_source(server: LibraryReader, job: Job) -> tuple[Item, MediaSource]:
    """Read the item afresh and find the job's media source in it.

    Raises:
        ItemGone: The item or that version of it is no longer there.
    """
    item = await server.fetch_item(job.item_id)
    source = item.source(job.source_id)
    if source is None:
        raise ItemGone(job.source_id)
    return item, source
