"""For test suites: assertions that say which mistake it is."""

from collections.abc import Callable
from typing import Any

from eyeline.doctor import Diagnosis, check

__all__ = ["assert_attention"]


def assert_attention(
    candidate: Callable[..., Any], what: str | None = None, **stated: Any
) -> Diagnosis:
    """Pass if an implementation is right; else fail with the diagnosis.

    Args:
        candidate: A function or module, as for `eyeline.check`.
        what: What it should compute, as for `eyeline.check`.
        stated: The other arguments of `eyeline.check`: `adapter`, `layout`, `mask`, `causal`, ….

    Returns:
        The diagnosis, for its remarks.

    Raises:
        AssertionError: It is wrong; the message is the diagnosis.
        EyelineError: It could not be checked.

    Example:
        >>> from torch.nn.functional import scaled_dot_product_attention
        >>> assert_attention(scaled_dot_product_attention).ok
        True
    """
    diagnosis = check(candidate, what, **stated)
    if not diagnosis.ok:
        raise AssertionError(f"\n{diagnosis}")
    return diagnosis
