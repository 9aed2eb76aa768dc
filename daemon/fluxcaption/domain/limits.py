"""Limits that several adapters keep."""

MAX_SUBTITLE_BYTES = 4 * 2**20
"""Largest subtitle file that is read, uploaded or accepted from a user."""
