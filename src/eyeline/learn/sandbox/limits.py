"""How much a learner's code may take."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What one request to a learner's code may take before it is ended.

    Attributes:
        seconds: Wall-clock time from the request to the answer.
        memory: Bytes of address space beyond what Python and torch take themselves.
        printed: Bytes on standard output and standard error together.
        answer: Bytes of the answer.
        file: Bytes of one file it writes, in the scratch folder that it is given.
        start: Seconds that Python and torch may take to start; no learner's code runs in them.
    """

    seconds: float = 5.0
    memory: int = 1 << 30
    printed: int = 1 << 20
    answer: int = 64 << 20
    file: int = 16 << 20
    start: float = 120.0
