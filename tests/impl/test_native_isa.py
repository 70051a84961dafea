"""Every instruction set that this computer has computes the same; one that it lacks is an error."""

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

import eyeline
from eyeline.impl import native

pytestmark = pytest.mark.skipif(native.missing() is not None, reason=str(native.missing()))

TESTS = Path(__file__).parents[1]
AVX512 = {"avx512f", "avx512vl", "avx512bw", "avx512dq"}
NEEDS = {
    "generic": set(),
    "avx2": {"avx2", "fma", "f16c"},
    "avx512": AVX512,
    "avx512bf16": AVX512 | {"avx512_bf16"},
    "amx": AVX512 | {"avx512_bf16", "amx_tile", "amx_bf16"},
}


def child(isa, *command):
    package = str(Path(eyeline.__file__).parents[1])
    settings = {"EYELINE_ISA": isa, "PYTHONPATH": package, "OMP_NUM_THREADS": "1"}
    environment = os.environ | settings
    return subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, text=True, timeout=240
    )


def flags() -> set[str] | None:
    """What this CPU can do; None where that is not written anywhere."""
    info = Path("/proc/cpuinfo")
    if platform.machine() not in ("x86_64", "AMD64") or not info.exists():
        return None
    return set(re.search(r"^flags\s*:(.*)$", info.read_text(), re.M)[1].split())


@pytest.mark.parametrize("isa", NEEDS)
def test_an_instruction_set_that_is_here_equals_the_judge(isa):
    here = flags()
    done = child(isa, str(TESTS / "_isa_grid.py"))
    if f"EYELINE_ISA={isa} names an instruction set" in done.stderr:
        assert NEEDS[isa] and (here is None or not NEEDS[isa] <= here), "it is here"
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == [isa]


def test_an_unknown_instruction_set_is_an_error_that_names_it():
    ask = "import eyeline, torch; q = torch.ones(1, 1, 2, 2); eyeline.attention(q, q, q, impl={!r})"
    reason = "EYELINE_ISA=sse9 names an instruction set that this computer does not have"
    named = child("sse9", "-c", ask.format("native"))
    assert named.returncode == 1 and f"impl='native' cannot do this: {reason}" in named.stderr
    auto = child("sse9", "-c", ask.format("auto"))
    assert auto.returncode == 0 and f"RuntimeWarning: {reason}" in auto.stderr
