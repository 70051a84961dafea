"""What `import eyeline` loads and shows."""

import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest

import eyeline
import eyeline.impl

HEAVY = ["torch", "transformers", "starlette", "triton", "huggingface_hub", "uvicorn", "matplotlib"]
CORE = ["eyeline", "eyeline.masks", "eyeline.biases", "eyeline.functional", "eyeline.maps"]
CORE += ["eyeline.nn", "eyeline.models"]


def test_importing_loads_nothing_heavy():
    code = f"import sys, eyeline; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_catalogue_loads_nothing_heavy():
    code = f"import sys, eyeline.models; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["eyeline", "eyeline.models"])
def test_every_listed_name_is_there(name):
    module = importlib.import_module(name)
    assert set(module.__all__) <= set(dir(module))
    assert all(getattr(module, one) is not None for one in module.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        module.nothing  # noqa: B018


def public(module):
    names = getattr(module, "__all__", None) or [n for n in vars(module) if not n.startswith("_")]
    return {name: getattr(module, name) for name in names}


@pytest.mark.parametrize("name", CORE)
def test_every_public_name_says_what_it_is(name):
    module = importlib.import_module(name)
    assert module.__doc__
    for label, thing in public(module).items():
        if inspect.isfunction(thing) or inspect.isclass(thing) or inspect.ismodule(thing):
            assert inspect.getdoc(thing), f"{name}.{label}"
        if inspect.isclass(thing) and thing.__module__ == name:
            for method, body in vars(thing).items():
                if inspect.isfunction(body) and not method.startswith("_"):
                    assert inspect.getdoc(getattr(thing, method)), f"{name}.{label}.{method}"


def test_what_stands_at_the_top():
    expected = {"attention", "observe", "AttentionMap", "Measure", "masks", "biases"}
    assert expected <= set(dir(eyeline))
    for name in ("attention", "observe"):
        module = getattr(eyeline, name).__module__
        assert name not in module.split("."), "no module bears the name of an exported function"


def test_siblings_never_import_each_other():
    names = [m.name for m in pkgutil.iter_modules(eyeline.impl.__path__) if m.name[0] != "_"]
    for name in names:
        source = inspect.getsource(importlib.import_module(f"eyeline.impl.{name}"))
        for other in set(names) - {name}:
            assert f"impl.{other} " not in source and f"impl import {other}" not in source
