"""Generator of the manifest of the miniature models: each file with its size and SHA-256.

Usage after training: `python -m tests.miniatures.write_manifest`.
"""

import hashlib
import json
from pathlib import Path

MINIATURES = Path(__file__).parents[2] / "daemon" / "fluxcaption" / "miniatures"


def manifest() -> dict[str, dict[str, object]]:
    """Return size and hash of the present files, by name."""
    files = sorted(path for folder in ("speech", "translation") for path in (MINIATURES / folder).iterdir())
    return {
        f"{path.parent.name}/{path.name}": {
            "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in files
    }


if __name__ == "__main__":
    (MINIATURES / "manifest.json").write_text(json.dumps(manifest(), indent=1) + "\n", encoding="utf-8")
