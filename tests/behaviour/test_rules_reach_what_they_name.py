"""A rule holds for everything that its condition names, wherever the server keeps that."""

from pathlib import Path

from fluxcaption.domain.jobs import Priority
from fluxcaption.domain.units import ItemId

from tests.fakes.jellyfin import FakeItem, new_id
from tests.support.libraries import beside_a_server, films


async def test_a_tag_of_a_series_holds_for_its_episodes(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path, rules=[{"tag": "no subtitles", "skip": True}]) as (
        fake,
        clock,
        app,
    ):
        library = fake.libraries[0].id
        for name in ("Tagged", "Plain"):
            series = FakeItem(
                new_id(name),
                library,
                "Series",
                name,
                [],
                clock.now(),
                clock.now(),
                extra={"Tags": ["No Subtitles"] if name == "Tagged" else []},
            )
            fake.add(series)
        episodes = films(fake, 3, clock.now())
        for episode, name in zip(episodes, ("Tagged", "Plain", "Tagged"), strict=True):
            episode.kind = "Episode"
            episode.extra = {"SeriesName": name, "SeriesId": new_id(name)}
        report = await app.scanner.scan(full=True)
        assert (report.read, report.queued) == (3, 1)
        assert [job.item_id for job in await app.storage.jobs.page()] == [episodes[1].id]
        await app.enqueuer.enqueue_item(ItemId(episodes[2].id), Priority.NEW)
        assert len(await app.storage.jobs.page()) == 1
