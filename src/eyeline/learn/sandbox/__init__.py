"""A learner's code in a process of its own: limited, and believed nothing.

It is proof against accidents, not against an attacker: `protection()` says what is in force here
and what is not.
"""

from eyeline.learn.sandbox.calls import Call, Opaque
from eyeline.learn.sandbox.limits import Limits
from eyeline.learn.sandbox.protection import Protection, protection
from eyeline.learn.sandbox.sandbox import Reply, Sandbox

__all__ = ["Call", "Limits", "Opaque", "Protection", "Reply", "Sandbox", "protection"]
