"""Settings of glibc's allocator that return freed memory to the system; no effect with other C libraries."""

import ctypes
from contextlib import suppress

_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
"""Parameters of mallopt(3), from glibc's `malloc.h`."""

_MMAP_THRESHOLD_BYTES = 1 << 20
_MAX_ARENAS = 2


def keep_memory_tight() -> None:
    """Allocate blocks over 1 MiB with mmap, so that they are returned when freed; limit the arenas to two.

    Audio and features come in blocks of many sizes. By default glibc raises the mmap threshold up to 32 MiB
    with each freed block, and the heap becomes fragmented.

    Source: mallopt(3), `M_MMAP_THRESHOLD` and `M_ARENA_MAX`.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL("libc.so.6")
        library.mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES)
        library.mallopt(_M_ARENA_MAX, _MAX_ARENAS)


def trim_memory() -> None:
    """Return freed memory to the system."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
