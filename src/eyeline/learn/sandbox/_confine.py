"""Giving up rights, in the learner's process, before a line of theirs runs."""

import contextlib
import os
import sys

from eyeline.learn.sandbox.limits import Limits

_GRACE = 1
_OPEN_FILES = 128


def confine(limits: Limits, scratch: str, hidden: list[str], own_namespaces: bool) -> list[str]:
    """Give up what can be given up here.

    Args:
        limits: How much may be taken.
        scratch: The only folder that may be written to.
        hidden: Folders that must look empty (the solutions).
        own_namespaces: Whether this process has namespaces of its own.

    Returns:
        Names of the layers that are in force, see `protection`.
    """
    os.chdir(scratch)
    layers = []
    if sys.platform != "win32":
        _limit(limits)
        layers.append("limits")
    if sys.platform == "linux":
        from eyeline.learn.sandbox import _syscalls

        if own_namespaces:
            layers.append("namespaces")
            with contextlib.suppress(OSError):
                _syscalls.read_only_files(scratch, hidden, 2 * limits.file)
                layers.append("read-only")
        with contextlib.suppress(OSError):
            _syscalls.no_new_privileges()
            with contextlib.suppress(OSError):
                _syscalls.write_only_beneath(scratch)
                layers.append("landlock")
            _syscalls.no_processes_no_network()
            layers.append("seccomp")
    return layers


def _limit(limits: Limits) -> None:
    import resource

    def lower(what: int, value: int) -> None:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(what, (value, value))

    used = resource.getrusage(resource.RUSAGE_SELF)
    spent = used.ru_utime + used.ru_stime
    # every request has its own wall-clock limit; this one ends a process that nobody waits for
    lower(resource.RLIMIT_CPU, int(spent + 60 * limits.seconds) + _GRACE)
    lower(resource.RLIMIT_FSIZE, limits.file)
    lower(resource.RLIMIT_CORE, 0)
    lower(resource.RLIMIT_NOFILE, _OPEN_FILES)
    if (size := _address_space()) is not None:
        lower(resource.RLIMIT_AS, size + limits.memory)


def _address_space() -> int | None:
    """Bytes of address space that this process has; None where the system does not say."""
    try:
        with open("/proc/self/statm") as file:  # noqa: PTH123
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None
