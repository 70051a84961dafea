"""What a learner's code is kept from on this system, and what it is not."""

import shutil
import subprocess
import sys
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache

__all__ = ["Protection", "namespaces", "protection"]

_UNSHARE = ("--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--net", "--ipc")
_UNSHARE += ("--mount", "--mount-proc")

_ALWAYS = "Your code runs as you: it can read your files."
_STRANGERS = (
    "It is proof against accidents, not against an attacker: for the code of strangers use a "
)
_STRANGERS += "container or a virtual machine."


@dataclass(frozen=True)
class Protection:
    """The layers in force.

    Attributes:
        layers: Of "limits" (time, memory, output, files), "namespaces" (sees no other process, no
            network), "read-only" and "landlock" (writes to a scratch folder only), "seccomp"
            (starts no process, opens no socket).
    """

    layers: tuple[str, ...]

    def sentences(self) -> list[str]:
        """What is in force and what is not, to be shown on the first run."""
        have = set(self.layers)
        kept, open_ = ["too much time, memory, output"], []
        for names, what in (
            ({"read-only", "landlock"}, "changing your files"),
            ({"seccomp", "namespaces"}, "the network"),
            ({"seccomp"}, "starting programs"),
        ):
            (kept if have & names else open_).append(what)
        said = f"Your code runs in a process of its own, kept from: {', '.join(kept)}."
        if open_:
            said += f" Not kept, on this system, from: {', '.join(open_)}."
        return [said, _ALWAYS, _STRANGERS]


def protection(layers: Collection[str]) -> Protection:
    """The protection that `layers`, as the process reported them, make."""
    return Protection(tuple(layers))


@cache
def namespaces() -> tuple[str, ...] | None:
    """The command that gives a process namespaces of its own, or None where there are none.

    It asks the system by trying: containers and some distributions forbid it.
    """
    unshare = shutil.which("unshare") if sys.platform == "linux" else None
    if unshare is None:
        return None
    command = (unshare, *_UNSHARE)
    try:
        tried = subprocess.run([*command, "true"], capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return command if tried.returncode == 0 else None
