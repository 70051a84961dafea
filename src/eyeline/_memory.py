"""Memory: how much there is, asked before it is taken; and what is free, given back."""

import ctypes
import os
import sys
from pathlib import Path

__all__ = ["available_memory", "free_memory", "give_back"]


def free_memory() -> int | None:
    """Bytes that a process may still take without others being swapped out; None if unknown."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return _pages("SC_AVPHYS_PAGES")


def available_memory() -> int | None:
    """The same; where the system does not say what is free, all that there is."""
    return free_memory() or _pages("SC_PHYS_PAGES")


def _pages(name: str) -> int | None:
    try:
        return os.sysconf(name) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def give_back() -> bool:
    """Have the allocator return what it holds and nobody uses; some milliseconds.

    glibc keeps the pages of freed tensors, in an arena per thread: a server of many short texts
    grows by what lies scattered in them.

    Returns:
        Whether there was an allocator that can.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):  # another C library than glibc
        return False
    trim(0)
    return True
