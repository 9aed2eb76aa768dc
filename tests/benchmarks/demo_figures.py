"""Quality of the demo's subtitles, measured against the spoken text.

Usage: `python -m tests.benchmarks.demo_figures` after `fluxcaption run --config config/demo.yaml --once`.
"""

import json
from pathlib import Path

from fluxcaption.subtitles.codec import Pysubs2Codec

from tests.support.measuring import word_error_rate

DEMO = Path(__file__).parents[2] / "config" / "demo"


def main() -> None:
    """Print a line for each clip and language."""
    for spoken in sorted((DEMO / "known-text").glob("*.json")):
        sentences = json.loads(spoken.read_text(encoding="utf-8"))
        for language in ("en", "es"):
            file = DEMO / "library" / spoken.stem / f"{spoken.stem}.fluxcaption.{language}.srt"
            if not file.exists():
                continue
            cues = Pysubs2Codec().read(file.name, file.read_bytes()).cues
            rate = word_error_rate(
                " ".join(sentence[language] for sentence in sentences), " ".join(cue.text for cue in cues)
            )
            exact = sum(sentence[language] in {cue.text for cue in cues} for sentence in sentences)
            errors = sorted(
                min(abs(cue.start - sentence["start_ms"]) for cue in cues) for sentence in sentences
            )
            print(
                f"{spoken.stem} [{language}]: word error rate {100 * rate:.1f} %,"
                f" {exact} of {len(sentences)} lines equal,"
                f" start error median {errors[len(errors) // 2]} ms, maximum {errors[-1]} ms"
            )


if __name__ == "__main__":
    main()
