"""Results of the connection checks."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """Result of one check; the values are part of `doctor --json`."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check, for the user.

    Attributes:
        name: Name of the check; part of `doctor --json`.
        text: The fact, and its effect.
        fix: The remedy as an instruction; empty if none is needed.
    """

    name: str
    severity: Severity
    text: str
    fix: str = ""
