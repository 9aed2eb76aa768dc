"""The miniature models are the ones that were measured."""

import json

from tests.miniatures.write_manifest import MINIATURES, manifest


def test_every_file_is_as_the_manifest_says() -> None:
    assert json.loads((MINIATURES / "manifest.json").read_text(encoding="utf-8")) == manifest()


def test_together_they_are_small() -> None:
    assert sum(int(str(entry["bytes"])) for entry in manifest().values()) <= 12_000_000
