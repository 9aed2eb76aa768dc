"""An own track whose media file was replaced is made again, or removed where no other is made."""

from datetime import timedelta
from pathlib import Path

import pytest
from fluxcaption.domain.gaps import Action
from fluxcaption.domain.jobs import JobState, Stage
from fluxcaption.domain.units import Fingerprint

from tests.fakes.jellyfin import audio, text
from tests.support.deliveries import claim, run_and_record_stage, run_stage
from tests.support.libraries import (
    DE,
    add_delivered_tracks,
    add_films,
    fetch_item,
    replace_media,
    save_identity,
    server_with_app,
    storage_of,
)

SKIP_SPOKEN = {"targets": ["de"], "when_spoken": "skip"}


async def test_stale_track_is_queued_despite_a_closed_backlog(tmp_path: Path) -> None:
    async with server_with_app(tmp_path, backlog={"mode": "none"}) as (fake, clock, app):
        items = add_films(fake, 2, clock.now() - timedelta(days=60))
        await add_delivered_tracks(fake, storage_of(app), items[:1], clock.now())
        assert (await app.scanner.scan(full=True)).queued == 0
        replace_media(items[0], clock.now())
        assert (await app.scanner.scan(full=True)).queued == 1
        (job,) = await app.storage.jobs.page()
        assert (job.title, job.state, job.is_held) == (items[0].name, JobState.QUEUED, False)


@pytest.mark.parametrize("reason", ["skipped", "not wanted", "no source", "covered"])
async def test_stale_track_without_a_successor_is_removed(reason: str, tmp_path: Path) -> None:
    async with server_with_app(tmp_path, languages=SKIP_SPOKEN) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now(), [audio("eng")])
        await add_delivered_tracks(fake, storage_of(app), [item], clock.now())
        await app.scanner.scan(full=True)
        replace_media(item, clock.now())
        await save_identity(app, item, "new")
        source = item.sources[0]
        if reason == "skipped":
            await app.storage.skips.remember(
                Fingerprint("new"), DE, app.planner.skip_key, "no-speech", "contains no speech", clock.now()
            )
        elif reason == "not wanted":
            source.streams = [audio("ger")]
        elif reason == "no source":
            source.streams = [audio("eng", Title="Director's commentary")]
        else:
            source.streams = [audio("eng"), text("ger")]
        ((decision,),) = await app.planner.plan([await fetch_item(app, item)])
        if reason == "covered":
            assert decision.action is Action.YIELD_TO_HUMAN
            return
        assert decision.action is Action.REMOVE_STALE
        assert "the media was replaced after" in decision.reason
        assert (await app.scanner.scan(full=True)).queued == 1
        job = await claim(app, Stage.ACQUIRE)
        outcome = await run_stage(app, job)
        assert (outcome.state, outcome.stage, job.track_ref) == (JobState.QUEUED, Stage.UPLOAD, None)


async def test_track_stays_if_the_new_media_file_has_the_same_content(tmp_path: Path) -> None:
    async with server_with_app(tmp_path, languages=SKIP_SPOKEN) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now(), [audio("eng")])
        await add_delivered_tracks(fake, storage_of(app), [item], clock.now())
        await app.scanner.scan(full=True)
        replace_media(item, clock.now())
        item.sources[0].streams = [audio("ger")]
        # The fingerprint that the delivery has.
        await save_identity(app, item, f"f{item.id}")
        assert (await app.scanner.scan(full=True)).queued == 1
        outcome = await run_and_record_stage(app, Stage.ACQUIRE)
        assert (outcome.state, outcome.reason) == (
            JobState.DONE,
            "the media file is unchanged, the existing FluxCaption track was made for it",
        )
        assert [(await app.scanner.scan(full=True)).queued for _ in range(2)] == [0, 0]


async def test_replaced_media_without_a_track_is_a_gap_after_one_scan(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now())
        await add_delivered_tracks(fake, storage_of(app), [item], clock.now())
        await app.scanner.scan(full=True)
        replace_media(item, clock.now())
        item.sources[0].sidecars.clear()
        assert [(await app.scanner.scan(full=True)).queued for _ in range(2)] == [0, 1]
