"""The list of planted mistakes (bench/mutation.py) still fits the source."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
_spec = importlib.util.spec_from_file_location("mutation", ROOT / "bench/mutation.py")
mutation = importlib.util.module_from_spec(_spec)
sys.modules["mutation"] = mutation
_spec.loader.exec_module(mutation)


def test_there_are_enough_and_none_twice():
    names = [m.name for m in mutation.MUTANTS]
    assert len(names) >= 30 and len(set(names)) == len(names)


@pytest.mark.parametrize("mutant", mutation.MUTANTS, ids=lambda m: m.name)
def test_the_original_occurs_exactly_once(mutant):
    path = ROOT / "src/eyeline" / mutant.file
    text = path.read_text()
    mutant.check(text)
    compile(text.replace(mutant.old, mutant.new), path.name, "exec")


def test_the_tests_it_runs_exist():
    assert all((ROOT / name).exists() for name in mutation.TESTS)


def test_drift_is_noticed():
    mutant = mutation.Mutant("x", "f.py", "a", "b")
    for text in ("aa", "c"):
        with pytest.raises(ValueError, match="mutant x: 'a' occurs"):
            mutant.check(text)
