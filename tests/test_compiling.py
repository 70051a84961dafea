"""Looking imports no compiler; compiling still does what it should."""

import subprocess
import sys

import pytest
import torch

from eyeline._compiling import outside_graphs

LOOK = """
import sys, torch, eyeline
q = torch.randn(1, 2, 5, 4)
eyeline.attention(q, q, q, is_causal=True)
eyeline.observe(q, q, q)[1].entropy()
with eyeline.watch(torch.nn.Sequential(eyeline.nn.MultiHeadAttention(8, 2))) as maps:
    pass
print("torch._dynamo" in sys.modules)
"""


def test_looking_imports_no_compiler():
    done = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


def test_a_function_outside_is_not_traced():
    traced = []

    @outside_graphs
    def outside(x):
        traced.append(torch.compiler.is_compiling())
        return x + 1

    def whole(x):
        return outside(x * 2) * 3

    x = torch.arange(3.0)
    assert torch.equal(whole(x), torch.compile(whole, backend="eager")(x))
    assert traced == [False, False]


@pytest.mark.parametrize("value", [3, "x"])
def test_it_is_the_same_function_to_callers(value):
    @outside_graphs
    def named(one, *, other):
        """What it says."""
        return one, other

    assert named(value, other=1) == (value, 1) and named.__doc__ == "What it says."
