"""The shipped miniature models are the measured ones."""

import json

from tests.miniatures.write_manifest import MINIATURES, manifest


def test_each_file_agrees_with_the_manifest() -> None:
    assert json.loads((MINIATURES / "manifest.json").read_text(encoding="utf-8")) == manifest()


def test_all_files_together_have_at_most_12_mb() -> None:
    assert sum(int(str(entry["bytes"])) for entry in manifest().values()) <= 12_000_000
