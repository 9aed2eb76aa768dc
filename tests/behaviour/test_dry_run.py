"""A dry run of `scan` changes nothing."""

import json
from pathlib import Path

import pytest
from fluxcaption.cli.scan import scan_without_daemon

from tests.fakes.jellyfin import FakeJellyfin
from tests.support.app import jellyfin, settings
from tests.support.libraries import add_films


@pytest.mark.parametrize("version", ["10.10.7", "12.0.0"])
async def test_dry_run_only_reads(version: str, tmp_path: Path) -> None:
    async with FakeJellyfin(version) as fake:
        add_films(fake, 250, fake.now())
        config = settings(tmp_path / "state", jellyfin(fake), ["de", "fr"])
        report = await scan_without_daemon(config, dry_run=True)
        assert report.items == 250
        table = json.loads(json.dumps(report.tally.table()))
        assert table["de"] == {"translate": 250}
        assert {exchange.method for exchange in fake.received} == {"GET"}
        assert not (tmp_path / "state").exists()
