"""Numbers as JSON can hold them."""

import math
from typing import Any

from torch import Tensor


def plain(value: Any) -> Any:
    """Lists of numbers; None where one is not finite, as JSON has neither NaN nor infinity."""
    if isinstance(value, Tensor):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
