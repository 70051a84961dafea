"""The compiled kernels: found, loaded and called through a plain C interface.

No part of torch is linked: the library takes addresses, so that one build serves every Python and
every torch. The struct is that of `kernels/eyeline_kernels.h`, which checks its size.
"""

import ctypes
import importlib.metadata
import os
import sys
from functools import cache
from pathlib import Path

import torch

__all__ = ["DTYPES", "WIDEST", "BackwardCall", "Call", "Library", "Window", "library"]

_NAME = {"darwin": "libeyeline_kernels.dylib", "win32": "eyeline_kernels.dll"}.get(
    sys.platform, "libeyeline_kernels.so"
)
OK, SPECIAL_VALUES, BAD_STRUCT = 0, 1, 2
DTYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}
WIDEST = 256
"""The most numbers that a head's query, key or value may have."""

_Address = ctypes.c_void_p
_Sizes = ctypes.c_int64


class Call(ctypes.Structure):
    """`eyeline_call`: one attention call, everything by address, strides in elements."""

    _fields_ = (
        ("size", ctypes.c_int32),
        ("dtype", ctypes.c_int32),
        ("threads", ctypes.c_int32),
        *((name, _Sizes) for name in ("batch", "heads", "kv_heads", "q_len", "kv_len")),
        *((name, _Sizes) for name in ("head_dim", "value_dim")),
        *((name, _Address) for name in ("query", "key", "value")),
        *((name, _Sizes * 3) for name in ("query_stride", "key_stride", "value_stride")),
        ("scale", ctypes.c_float),
        ("softcap", ctypes.c_float),
        ("has_first", ctypes.c_int32),
        ("has_last", ctypes.c_int32),
        ("first_offset", _Sizes),
        ("last_offset", _Sizes),
        ("row_first", _Address),
        ("row_last", _Address),
        ("row_stride", _Sizes * 3),
        ("dense_mask", _Address),
        ("dense_mask_stride", _Sizes * 4),
        ("bias", _Address),
        ("bias_stride", _Sizes * 4),
        ("diagonal", _Address),
        ("diagonal_stride", _Sizes * 2),
        ("sinks", _Address),
        ("dropout_threshold", ctypes.c_uint64),
        ("dropout_scale", ctypes.c_float),
        ("dropout_seed", ctypes.c_uint32),
        ("output", _Address),
        ("output_stride", _Sizes * 3),
        ("unrounded_output", _Address),
        ("row_max", _Address),
        ("row_sum", _Address),
        ("entropy", _Address),
        ("top_k", ctypes.c_int32),
        ("top_values", _Address),
        ("top_indices", _Address),
        ("received", _Address),
        ("pooled", _Address),
        ("pool_rows", _Sizes),
        ("pool_cols", _Sizes),
        ("pool_reduce", ctypes.c_int32),
    )


class BackwardCall(ctypes.Structure):
    """`eyeline_backward`: a call, the gradient of its output, and where the others go."""

    _fields_ = (
        ("size", ctypes.c_int32),
        ("call", Call),
        ("output_gradient", _Address),
        ("output_gradient_stride", _Sizes * 3),
        *((f"{name}_gradient", _Address) for name in ("query", "key", "value")),
        *((f"{name}_gradient_stride", _Sizes * 3) for name in ("query", "key", "value")),
        ("forward_output", _Address),
        ("forward_output_stride", _Sizes * 3),
        *((name, _Address) for name in ("forward_max", "forward_sum")),
        *((name, _Address) for name in ("logsumexp_gradient", "entropy_gradient", "entropy")),
        ("bias_gradient", _Address),
        ("bias_gradient_stride", _Sizes * 4),
        ("diagonal_gradient", _Address),
        ("sinks_gradient", _Address),
    )


class Window(ctypes.Structure):
    """`eyeline_window`: a call whose rows are known, a rectangle of its weights, where they go."""

    _fields_ = (
        ("size", ctypes.c_int32),
        ("call", Call),
        *((name, _Sizes) for name in ("row_begin", "row_end", "key_begin", "key_end")),
        *((name, _Address) for name in ("weights", "pixels")),
        ("pixel", _Sizes),
    )


class Library:
    """The loaded kernels.

    Attributes:
        isa: The instruction set they use: "amx", "avx512bf16", "avx512", "avx2" or "generic".
    """

    def __init__(self, path: Path) -> None:
        handle = ctypes.CDLL(str(path))
        self._attend = handle.eyeline_attend
        self._attend.argtypes, self._attend.restype = [ctypes.POINTER(Call)], ctypes.c_int
        self._backward = handle.eyeline_attend_backward
        self._backward.argtypes = [ctypes.POINTER(BackwardCall)]
        self._backward.restype = ctypes.c_int
        self._look = handle.eyeline_look
        self._look.argtypes, self._look.restype = [ctypes.POINTER(Window)], ctypes.c_int
        self._error = handle.eyeline_error
        self._error.argtypes, self._error.restype = [ctypes.c_int], ctypes.c_char_p
        handle.eyeline_isa.restype = ctypes.c_char_p
        self.isa: str = handle.eyeline_isa().decode()
        nothing = Call(size=ctypes.sizeof(Call), threads=1)
        if self._attend(ctypes.byref(nothing)) == BAD_STRUCT:
            raise OSError("they belong to another version of eyeline")

    def attend(self, call: Call) -> bool:
        """Run a call.

        Returns:
            False if it met NaN, an infinity or an overflow: its results then mean nothing.

        Raises:
            RuntimeError: The library refused the call.
        """
        return self._fine(self._attend(ctypes.byref(call)))

    def attend_backward(self, call: BackwardCall) -> bool:
        """Run a backward call; returns and raises as `attend`."""
        return self._fine(self._backward(ctypes.byref(call)))

    def look(self, window: Window) -> bool:
        """Compute a rectangle of weights; returns and raises as `attend`."""
        return self._fine(self._look(ctypes.byref(window)))

    def _fine(self, code: int) -> bool:
        if code not in (OK, SPECIAL_VALUES):
            raise RuntimeError(f"eyeline's kernels: {self._error(code).decode()}")
        return code == OK


@cache
def library() -> Library | str:
    """The kernels, or why there are none."""
    path = _find()
    if path is None:
        return (
            "the C++ kernels are not installed: no compiler was found when eyeline was; "
            "install one and run pip install --force-reinstall eyeline"
        )
    try:
        found = Library(path)
    except (OSError, AttributeError) as error:
        return f"the C++ kernels in {path} do not load: {error}"
    if not found.isa:
        wanted = os.environ.get("EYELINE_ISA", "")
        return f"EYELINE_ISA={wanted} names an instruction set that this computer does not have"
    return found


def _find() -> Path | None:
    if given := os.environ.get("EYELINE_LIBRARY"):
        return Path(given)
    # a folder that is no package: nobody takes the library for a Python module
    beside = Path(__file__).parents[1] / "kernels" / _NAME
    if beside.exists():
        return beside
    try:  # an editable install keeps what it compiled apart from the sources
        installed = importlib.metadata.distribution("eyeline").locate_file("eyeline/kernels")
    except importlib.metadata.PackageNotFoundError:
        return None
    path = Path(str(installed)) / _NAME
    return path if path.exists() else None
