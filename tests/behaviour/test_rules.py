"""Rules apply to every item that their condition names, also through a parent of the item."""

from pathlib import Path

from fluxcaption.domain.jobs import Priority
from fluxcaption.domain.units import ItemId

from tests.fakes.jellyfin import FakeItem, new_id
from tests.support.libraries import add_films, server_with_app

TAGGED, PLAIN = "Tagged", "Plain"


async def test_tag_of_a_series_applies_to_its_episodes(tmp_path: Path) -> None:
    rules = [{"tag": "no subtitles", "skip": True}]
    async with server_with_app(tmp_path, rules=rules) as (fake, clock, app):
        library, now = fake.libraries[0].id, clock.now()
        for name, tags in ((TAGGED, ["No Subtitles"]), (PLAIN, [])):
            fake.add(FakeItem(new_id(name), library, "Series", name, [], now, now, extra={"Tags": tags}))
        episodes = add_films(fake, 3, now)
        for episode, series in zip(episodes, (TAGGED, PLAIN, TAGGED), strict=True):
            episode.kind = "Episode"
            episode.extra = {"SeriesName": series, "SeriesId": new_id(series)}
        report = await app.scanner.scan(full=True)
        assert (report.read, report.queued) == (3, 1)
        assert [job.item_id for job in await app.storage.jobs.page()] == [episodes[1].id]
        await app.enqueuer.enqueue_item(ItemId(episodes[2].id), Priority.NEW)
        assert len(await app.storage.jobs.page()) == 1
