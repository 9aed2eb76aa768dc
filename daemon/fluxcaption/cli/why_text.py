"""The text output of `fluxcaption why`."""

from collections.abc import Iterator

from fluxcaption.logs import one_line
from fluxcaption.pipeline.explain import DecisionView, Explanation, JobStatus, TrackView


def explanation_text(explanation: Explanation) -> str:
    """Return an explanation as indented lines; control characters in names are escaped."""
    return "\n".join(map(one_line, _lines(explanation)))


def _lines(explanation: Explanation) -> Iterator[str]:
    library = f", library {explanation.library}" if explanation.library else ""
    yield f"{explanation.name} ({explanation.id}){library}"
    for version in explanation.versions:
        yield f"  {version.path}"
        for track in version.tracks:
            yield f"    {_track_line(track)}"
        for decision in version.decisions:
            yield from _decision_lines(decision)


def _track_line(track: TrackView) -> str:
    name = f"file {track.file}" if track.file else f"{track.kind} {track.number}"
    title = f" {track.title!r}" if track.title else ""
    notes = f" ({', '.join(track.notes)})" if track.notes else ""
    return f"track {name}: {track.language or 'no language'} {track.codec}{title}{notes}"


def _decision_lines(decision: DecisionView) -> Iterator[str]:
    rule = f" [rule for {decision.rule}]" if decision.rule else ""
    yield f"    {decision.target}: {decision.action}: {decision.reason}{rule}"
    if decision.job is not None:
        yield f"      {_job_line(decision.job)}"
    if decision.delivery is not None:
        delivery = decision.delivery
        yield f"      delivery: {delivery.state}: {delivery.file}, {delivery.how}"


def _job_line(job: JobStatus) -> str:
    place = f", place {job.place} in the queue" if job.place else ""
    next_try = f"{job.next_try_at:%Y-%m-%d %H:%M}"
    return (
        f"job {job.id}: {job.state} in {job.stage} ({job.priority}){place}, next try {next_try}: {job.reason}"
    )
