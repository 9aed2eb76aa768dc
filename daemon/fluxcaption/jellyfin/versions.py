"""Server versions and the limits that depend on them."""

import re

Version = tuple[int, int, int]
"""Major, minor and patch number."""

OLDEST_SUPPORTED: Version = (10, 10, 0)
REFUSES_ALL_UPLOADS: Version = (10, 11, 7)
"""The only version that rejects every subtitle upload."""


def read_version(text: object) -> Version:
    """Return `10.11.7` as numbers; a missing part is 0."""
    numbers = [int(part) for part in re.findall(r"\d+", str(text or ""))[:3]]
    major, minor, patch, *_ = [*numbers, 0, 0, 0]
    return major, minor, patch
