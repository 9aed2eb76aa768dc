"""Keeps the C library from holding on to memory that is no longer used; nothing happens where it is another one."""

import ctypes
from contextlib import suppress

_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
_LARGE_BYTES = 1 << 20
_ARENAS = 2


def keep_memory_tight() -> None:
    """Have every large block mapped by itself, so that it goes back when freed, and few arenas for the threads.

    Sound and features come in blocks of many sizes; left alone the C library raises its threshold to 32 MiB and the heap is left full of holes.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL("libc.so.6")
        library.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        library.mallopt(_M_ARENA_MAX, _ARENAS)


def trim_memory() -> None:
    """Hand freed memory back to the system."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
