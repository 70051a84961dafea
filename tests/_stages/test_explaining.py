"""Every number can be made again by the Python that comes with it."""

import contextlib
import io

import pytest

import _tiny_models as tiny
from eyeline._stages.explaining import inputs_of
from eyeline.readings import read

TEXT = "the cat sat on the mat and it was tired"


def run(python, steps):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(python, {"steps": steps})
    return float(out.getvalue())


@pytest.mark.parametrize("family", tiny.MODELS)
def test_the_python_prints_the_number(family):
    reading = read(
        TEXT, tiny.loaded(family), **({"target": "the dog"} if family in tiny.PAIRS else {})
    )
    for kind in reading.kinds:
        steps = reading.steps(1, 2, len(reading.query_tokens(kind)) - 1, kind=kind)
        for stage in steps.stages:
            keys = (0, len(steps.keys) - 1) if "key" in stage.per else (None,)
            last = stage.values.shape[-1] - 1
            for key in keys:
                for feature in (0, 3, last) if "feature" in stage.per else (None,):
                    cell = steps.explain(stage.name, key, feature)
                    if cell.value == float("-inf"):
                        assert run(cell.python, steps) == cell.value
                    else:
                        assert run(cell.python, steps) == pytest.approx(cell.value, abs=1e-9)
                    assert cell.formula


def test_inputs_are_stages_that_come_before():
    for family in ("bert", "llama", "gemma2", "qwen3", "t5"):
        target = {"target": "the dog"} if family in tiny.PAIRS else {}
        steps = read(TEXT, tiny.loaded(family), **target).steps(0, 1, 3)
        names = [s.name for s in steps.stages]
        for number, stage in enumerate(steps.stages):
            for one in inputs_of(steps.stages, stage):
                assert names.index(one.stage) < number
                assert one.which in ("same", "all", "row", "column", "pair", "slice")


def test_a_weight_is_made_of_all_masked_scores():
    steps = read(TEXT, tiny.loaded("gpt2")).steps(0, 1, 3)
    cell = steps.explain("weights", key=2)
    assert [(i.stage, i.which) for i in cell.inputs] == [("mask", "all")]
    assert cell.formula.startswith("e^(") and "÷" in cell.formula


def test_what_does_not_exist():
    steps = read(TEXT, tiny.loaded("gpt2")).steps(0, 1, 3)
    with pytest.raises(KeyError):
        steps.explain("magic")
    with pytest.raises(IndexError, match="per key, feature"):
        steps.explain("key", key=1)
    with pytest.raises(IndexError):
        steps.explain("scores", key=99)
