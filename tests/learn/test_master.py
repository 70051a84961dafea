"""One source for each exercise, found by what a learner types."""

import subprocess
import sys

import pytest

from eyeline._errors import EyelineError
from eyeline.learn.master import find


def test_an_exercise_is_found_by_what_a_learner_types():
    for typed in ("6", "06", "scale", "06_scale", "06_scale.py", "practice/06_scale.py"):
        assert find(typed).number == 6
    assert find("rotar").number == 20
    with pytest.raises(EyelineError, match="there is no exercise '99'"):
        find("99")
    with pytest.raises(EyelineError, match="could be"):
        find("softmax")


def test_stub_solution_and_page_are_of_one_source():
    master = find("scale")
    line = "return query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])"
    assert line in master.solution() and line not in master.stub() + master.page()
    head = "def scaled_scores(query: Tensor, key: Tensor) -> Tensor:"
    assert all(head in text for text in (master.solution(), master.stub(), master.page()))
    assert master.stub().startswith("# 6. Scale the scores\n#\n# Add up d products")


def test_listing_imports_no_torch():
    code = "import sys, eyeline.learn.master as m, eyeline.learn.sandbox; m.masters(); "
    code += "print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
