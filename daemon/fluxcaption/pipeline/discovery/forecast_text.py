"""Forecast of a scan as text, for the log, the command line and the API."""

from fluxcaption.domain.forecast import Forecast


def forecast_lines(forecast: Forecast) -> list[str]:
    """Return the forecast as sentences; empty if nothing is missing."""
    if not forecast.titles:
        return []
    origin = (
        "measured on this machine"
        if forecast.is_measured
        else "assumed until this machine has transcribed a file"
    )
    return [
        f"Whole library: {forecast.titles} titles, {forecast.listening_hours:.1f} h of audio to transcribe,"
        f" {forecast.work_hours:.1f} h of work at {forecast.speed:.1f} × real time ({origin}).",
        _start_line(forecast),
    ]


def _start_line(forecast: Forecast) -> str:
    if forecast.finished_at is None:
        return "No title starts by itself (backlog settings)."
    finish = f"{forecast.finished_at:%Y-%m-%d}"
    if forecast.begun_titles < forecast.titles:
        return (
            f"{forecast.begun_titles} titles start by themselves (backlog settings), finished about {finish}."
        )
    return f"Finished about {finish}."
