"""Two values side by side: are they the same, and where do they first differ."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from eyeline.learn.sandbox import Opaque

__all__ = ["Difference", "same", "where_differs"]

_TOLERANCE, _RELATIVE = 1e-6, 10
_SINGLE = 2e-5
"""Where somebody computed in float32, on purpose or not: a mistake is off by far more."""
_CLOSE = 1e-3


@dataclass(frozen=True)
class Difference:
    """Where and how a value is not the expected one.

    Attributes:
        summary: Half a sentence.
        evidence: The numbers.
        question: What to think about.
    """

    summary: str
    evidence: tuple[str, ...]
    question: str | None = None


def same(got: Any, expected: Any, tolerance: float = _TOLERANCE, *, exact: bool = False) -> bool:
    """Whether two values are the same: to the tolerance plus ten times it relative, or to the bit.

    Shapes must be the same, not merely broadcast; NaN equals NaN only.
    """
    if isinstance(expected, Tensor):
        if not isinstance(got, Tensor) or got.shape != expected.shape:
            return False
        if got.is_floating_point() != expected.is_floating_point():
            return False
        if exact:
            return torch.equal(got.nan_to_num(nan=0.125), expected.nan_to_num(nan=0.125))
        if not expected.is_floating_point():
            return torch.equal(got.long(), expected.long())
        return bool(_close(got, expected, tolerance).all())
    if isinstance(expected, list | tuple):
        if not isinstance(got, list | tuple) or len(got) != len(expected):
            return False
        return all(same(a, b, tolerance, exact=exact) for a, b in zip(got, expected, strict=True))
    if isinstance(expected, dict):
        return (
            isinstance(got, dict)
            and got.keys() == expected.keys()
            and all(same(got[name], expected[name], tolerance, exact=exact) for name in expected)
        )
    if isinstance(expected, float):
        number = isinstance(got, int | float) and not isinstance(got, bool)
        return number and math.isclose(
            got, expected, rel_tol=_RELATIVE * tolerance, abs_tol=tolerance
        )
    return type(got) is type(expected) and got == expected


def where_differs(
    got: Any,
    expected: Any,
    axes: tuple[str, ...],
    label: str = "",
    tolerance: float = _TOLERANCE,
) -> Difference | None:
    """The first difference, in words; None if there is none."""
    if isinstance(expected, list | tuple) and expected and isinstance(expected[0], Tensor):
        return _several(got, expected, label, tolerance)
    if isinstance(expected, dict):
        return _named(got, expected, label, tolerance)
    if same(got, expected, tolerance):
        return None
    if not isinstance(expected, Tensor):
        return Difference(
            f"{label or 'the result '}is {_shown(got)}, expected {_shown(expected)}", ()
        )
    if not isinstance(got, Tensor):
        return _no_tensor(got, label)
    if got.shape != expected.shape:
        return _shapes(got, expected, axes, label)
    if got.is_floating_point() != expected.is_floating_point():
        kind = "numbers" if expected.is_floating_point() else str(expected.dtype).split(".")[-1]
        found = str(got.dtype).removeprefix("torch.")
        question = "A comparison gives bool; so does dtype=torch.bool." if kind == "bool" else None
        return Difference(f"{label}the result is {found}, expected {kind}", (), question)
    return _values(got, expected, axes, label, tolerance)


def _close(got: Tensor, expected: Tensor, tolerance: float) -> Tensor:
    if torch.float32 in (got.dtype, expected.dtype):
        tolerance = max(tolerance, _SINGLE)
    got, expected = got.double(), expected.double()
    near = (got - expected).abs() <= tolerance * (1 + _RELATIVE * expected.abs())
    near &= expected.isfinite()  # infinity is near to nothing but itself
    return near | (got == expected) | (got.isnan() & expected.isnan())


def _several(got: Any, expected: Any, label: str, tolerance: float) -> Difference | None:
    if not isinstance(got, list | tuple) or len(got) != len(expected):
        return Difference(
            f"{label}the result is {_shown(got)}, expected {len(expected)} tensors", ()
        )
    for index, (mine, right) in enumerate(zip(got, expected, strict=True)):
        if (
            found := where_differs(mine, right, (), f"{label}result {index}: ", tolerance)
        ) is not None:
            return found
    return None


def _named(got: Any, expected: dict[str, Any], label: str, tolerance: float) -> Difference | None:
    if not isinstance(got, dict) or got.keys() != expected.keys():
        names = ", ".join(expected)
        return Difference(f"{label}the result is {_shown(got)}, expected a dict of {names}", ())
    for name in expected:
        found = where_differs(got[name], expected[name], (), f"{label}{name}: ", tolerance)
        if found is not None:
            return found
    return None


def _no_tensor(got: Any, label: str) -> Difference:
    if got is None:
        question = "Does every way through the function end in `return`?"
        return Difference(f"{label}the function returns None", (), question)
    many = isinstance(got, list | tuple)
    question = "torch.stack and torch.tensor make one tensor of many." if many else None
    return Difference(f"{label}the function returns {_shown(got)}, expected a tensor", (), question)


def _shapes(got: Tensor, expected: Tensor, axes: tuple[str, ...], label: str) -> Difference:
    wanted, found = list(expected.shape), list(got.shape)
    names = f" [{', '.join(axes)}]" if len(axes) == len(wanted) else ""
    if sorted(wanted) == sorted(found):
        question = "The same sizes in another order: which axes were swapped?"
    elif math.prod(wanted) == math.prod(found):
        question = "As many numbers in another arrangement: is a reshape missing, or one too many?"
    else:
        question = "Follow the shapes line by line: print(x.shape) helps."
    summary = f"{label}the shape is {found}, expected {wanted}{names}"
    return Difference(summary, (), question)


def _values(
    got: Tensor, expected: Tensor, axes: tuple[str, ...], label: str, tolerance: float
) -> Difference:
    wrong = ~_close(got, expected, tolerance)
    got, expected = got.double(), expected.double()
    index = tuple(int(i) for i in wrong.nonzero()[0]) if got.dim() else ()
    mine, right = float(got[index]), float(expected[index])
    position = ", ".join(map(str, index))
    named = ""
    if len(axes) == len(index) and axes:
        pairs = zip(axes, index, strict=True)
        named = " (" + ", ".join(f"{name} {i}" for name, i in pairs) + ")"
    where = f"{label}position [{position}]{named}" if index else f"{label}the result"
    digits = next((n for n in (4, 7, 10) if f"{mine:.{n}g}" != f"{right:.{n}g}"), 17)
    summary = f"{where} is {mine:.{digits}g}, expected {right:.{digits}g}"
    share = f"{int(wrong.sum())} of {wrong.numel()} numbers differ."
    if math.isnan(mine):
        return Difference(
            f"{where} is NaN, expected {right:.4g}", (share,), "What is 0/0, or inf - inf, here?"
        )
    off = (got - expected).abs() / (1 + expected.abs())
    largest = float(off.nan_to_num(math.inf, posinf=math.inf).max())
    if largest < _CLOSE:
        share += f" All by less than {largest:.1g}: is something computed in lower precision?"
    return Difference(summary, (share,))


def _shown(value: Any) -> str:
    if isinstance(value, Opaque):
        return f"a {value.type_name}"
    if isinstance(value, Tensor):
        return f"a tensor of shape {list(value.shape)}"
    if isinstance(value, list | tuple | dict):
        return f"a {type(value).__name__} of {len(value)}"
    return repr(value)[:60]
