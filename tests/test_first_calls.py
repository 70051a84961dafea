"""MKL's vector functions are settled before anything is computed (pytorch issue 188792)."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import eyeline
from eyeline import _first_calls

SOURCES = sorted(Path(eyeline.__file__).parent.rglob("*.py"))
# What PyTorch 2.13 takes from MKL's vector mathematics or its own stand-in, whatever the name
# (aten/src/ATen/cpu/vml.h).
VECTOR_FUNCTIONS = {
    "exp",
    "log",
    "tanh",
    "log2",
    "log10",
    "expm1",
    "log1p",
    "sin",
    "cos",
    "tan",
    "sinh",
    "cosh",
}
VECTOR_FUNCTIONS |= {"asin", "acos", "atan", "sqrt", "rsqrt", "erf", "erfc", "erfinv", "lgamma"}


def called(source: str) -> set[str]:
    """The vector functions that a source calls, as `torch.exp`, `x.exp` or `x.exp_`.

    Those of `math` are not torch's.
    """
    calls = (node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    methods = (c for c in calls if isinstance(c, ast.Attribute))
    names = {
        c.attr.removesuffix("_")
        for c in methods
        if not (isinstance(c.value, ast.Name) and c.value.id == "math")
    }
    return names & VECTOR_FUNCTIONS


def test_the_search_finds_calls():
    assert called("torch.exp(x); y.tanh_(); (a - b).log(); math.sqrt(2); x.sum()") == {
        "exp",
        "tanh",
        "log",
    }


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_every_vector_function_used_is_settled(source: Path):
    assert called(source.read_text(encoding="utf-8")) <= set(_first_calls.SETTLED)


def test_computing_parts_settle_them_when_they_load():
    parts = (
        "impl.reference",
        "impl.tiled",
        "impl.native",
        "maps",
        "functional",
        "steps",
        "heads",
        "capture",
        "biases",
    )
    # a process for each, forked from one that has torch where that can be: importing it takes long
    code = """
import os, sys, torch
for part in sys.argv[1:]:
    assert "eyeline" not in sys.modules
    if not hasattr(os, "fork") or not os.fork():
        __import__(f"eyeline.{part}")
        os._exit("eyeline._first_calls" not in sys.modules)
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 0, part
"""
    for group in [parts] if hasattr(os, "fork") else zip(parts, strict=True):
        subprocess.run([sys.executable, "-c", code, *group], check=True, timeout=240)
