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
    names = [m.name for m in mutation.MUTANTS + mutation.KERNEL_MUTANTS]
    assert len(names) >= 100 and len(set(names)) == len(names)


@pytest.mark.parametrize("mutant", mutation.MUTANTS, ids=lambda m: m.name)
def test_the_original_occurs_exactly_once(mutant):
    path = ROOT / "src/eyeline" / mutant.file
    text = path.read_text()
    mutant.check(text)
    compile(text.replace(mutant.old, mutant.new), path.name, "exec")


@pytest.mark.skipif(not (ROOT / "kernels").exists(), reason="no sources of the kernels here")
@pytest.mark.parametrize("mutant", mutation.KERNEL_MUTANTS, ids=lambda m: m.name)
def test_the_original_occurs_exactly_once_in_the_kernels(mutant):
    mutant.check((ROOT / "kernels" / mutant.file).read_text())


def test_the_tests_it_runs_exist():
    assert all((ROOT / name).exists() for name in mutation.TESTS + mutation.KERNEL_TESTS)


def test_the_tests_of_the_mutants_own_file_come_first():
    for file, first in [
        ("impl/_top_k.py", "tests/impl/test_top_k.py"),
        ("impl/native.py", "tests/impl/test_native.py"),
        ("biases.py", "tests/test_biases.py"),
        ("masks/base.py", "tests/masks"),
        ("impl/_problem.py", mutation.TESTS[0]),
    ]:
        tests = mutation.nearest_first(mutation.Mutant("x", file, "a", "b"))
        assert tests[0] == first and sorted(tests) == sorted(mutation.TESTS)


EDITABLE = """
import importlib.util, sys

class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "eyeline":
            return importlib.util.spec_from_file_location(name, {elsewhere!r})

sys.meta_path.insert(0, Finder)
"""


def test_the_copy_is_imported_whatever_an_editable_install_has_put_before(tmp_path):
    elsewhere = tmp_path / "elsewhere/__init__.py"
    elsewhere.parent.mkdir()
    elsewhere.touch()
    copy = mutation.Copy.of(ROOT / "src/eyeline", tmp_path)
    customize = copy.package.parent / "sitecustomize.py"
    ours = customize.read_text()
    theirs = EDITABLE.format(elsewhere=str(elsewhere))
    customize.write_text(theirs)
    with pytest.raises(RuntimeError, match="not the copy with the mutant"):
        copy.check()
    customize.write_text(theirs + ours)
    copy.check()


def test_drift_is_noticed():
    mutant = mutation.Mutant("x", "f.py", "a", "b")
    for text in ("aa", "c"):
        with pytest.raises(ValueError, match="mutant x: 'a' occurs"):
            mutant.check(text)
