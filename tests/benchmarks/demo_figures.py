"""The demo's text against the known text: `python -m tests.benchmarks.demo_figures` after `fluxcaption run --config config/demo.yaml --once`."""

import json
from pathlib import Path

from fluxcaption.subtitles.codec import Pysubs2Codec

from tests.support.measuring import word_error_rate

DEMO = Path(__file__).parents[2] / "config" / "demo"


def main() -> None:
    """Print a line for each clip and language."""
    for known in sorted((DEMO / "known-text").glob("*.json")):
        truth = json.loads(known.read_text(encoding="utf-8"))
        for language in ("en", "es"):
            file = DEMO / "library" / known.stem / f"{known.stem}.fluxcaption.{language}.srt"
            if not file.exists():
                continue
            cues = Pysubs2Codec().read(file.name, file.read_bytes()).cues
            rate = word_error_rate(
                " ".join(sentence[language] for sentence in truth), " ".join(cue.text for cue in cues)
            )
            exact = sum(sentence[language] in {cue.text for cue in cues} for sentence in truth)
            errors = sorted(min(abs(cue.start - sentence["start_ms"]) for cue in cues) for sentence in truth)
            print(
                f"{known.stem} [{language}]: word error rate {100 * rate:.1f} %, {exact} of {len(truth)} lines exactly right,"
                f" start error median {errors[len(errors) // 2]} ms, most {errors[-1]} ms"
            )


if __name__ == "__main__":
    main()
