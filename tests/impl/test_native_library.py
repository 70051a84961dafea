"""Kernels that are missing, damaged, elsewhere or of another version: what is said and done."""

import ctypes
import ctypes.util
import importlib.metadata
import re
import shutil
import warnings
from pathlib import Path

import pytest
import torch

import eyeline
from eyeline import impl
from eyeline.impl import _native_library, _native_quick, native
from eyeline.impl._native_library import BackwardCall, Call, library

HEADER = Path(__file__).parents[2] / "kernels/eyeline_kernels.h"
needs_kernels = pytest.mark.skipif(native.missing() is not None, reason=str(native.missing()))


def forget() -> None:
    """Forget what was found, planned and said so far."""
    for remembered in (library, _native_quick._plan, impl._say_once):
        remembered.cache_clear()


@pytest.fixture
def use(monkeypatch):
    """`use(path)`: the kernels in that file, until the test ends."""
    real = _native_library._find()

    def point(path):
        monkeypatch.setenv("EYELINE_LIBRARY", str(path))
        forget()

    point.real = real
    yield point
    monkeypatch.undo()
    forget()


@pytest.fixture
def no_kernels(monkeypatch):
    """As if no compiler had been found."""
    monkeypatch.setattr(_native_library, "_find", lambda: None)
    forget()
    yield
    monkeypatch.undo()
    forget()


def tensors():
    return (torch.randn(1, 2, 5, 8) for _ in range(3))


def damaged(folder, content=b"no library at all"):
    path = folder / "damaged.so"
    path.write_bytes(content)
    return path


@pytest.mark.usefixtures("no_kernels")
def test_without_kernels_it_says_so_once_and_computes_all_the_same():
    q, k, v = tensors()
    with pytest.warns(RuntimeWarning, match="not installed: no compiler.*portable impl") as said:
        found = eyeline.attention(q, k, v)
    assert len(said) == 1 and said[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again, _ = eyeline.observe(q, k, v, is_causal=True)
        eyeline.attention(q, k, v, is_causal=True)
    expected = eyeline.attention(q, k, v, impl="reference")
    torch.testing.assert_close(found, expected)
    assert again.shape == found.shape


@pytest.mark.usefixtures("no_kernels")
def test_without_kernels_asking_for_them_is_an_error_that_helps():
    with pytest.raises(ValueError, match=r"'native' cannot do this: .*install one and run pip"):
        eyeline.attention(*tensors(), impl="native")
    with pytest.raises(ValueError, match=r"'native' cannot do this: .*install one and run pip"):
        eyeline.observe(*tensors(), impl="native")


@pytest.mark.usefixtures("no_kernels")
@pytest.mark.parametrize("name", ["tiled", "reference"])
def test_without_kernels_a_named_implementation_does_not_warn(name):
    assert eyeline.attention(*tensors(), impl=name).shape == (1, 2, 5, 8)


@pytest.mark.parametrize("content", [b"", b"no library at all", b"\x7fELF" + bytes(60)])
def test_a_damaged_file_is_named_and_done_without(use, tmp_path, content):
    path = damaged(tmp_path, content)
    use(path)
    assert native.missing().startswith(f"the C++ kernels in {path} do not load: ")
    with pytest.warns(RuntimeWarning, match=re.escape(str(path))):
        found = eyeline.attention(*tensors())
    assert found.shape == (1, 2, 5, 8)
    with pytest.raises(ValueError, match="do not load"):
        eyeline.attention(*tensors(), impl="native")


def test_a_path_that_does_not_exist_is_named(use, tmp_path):
    use(tmp_path / "nothing.so")
    assert f"{tmp_path / 'nothing.so'} do not load" in native.missing()


def test_a_library_of_something_else_is_refused(use):
    use(ctypes.util.find_library("m") or pytest.skip("no C library of mathematics by that name"))
    assert "do not load" in native.missing() and "eyeline_attend" in native.missing()


@needs_kernels
def test_the_variable_points_to_kernels_elsewhere(use, tmp_path):
    copy = shutil.copy(use.real, tmp_path / "elsewhere.so")
    use(copy)
    assert native.missing() is None
    maps = Path("/proc/self/maps")
    eyeline.attention(*tensors(), impl="native")
    assert not maps.exists() or str(copy) in maps.read_text()


@needs_kernels
def test_kernels_of_another_version_are_not_used(use, tmp_path, monkeypatch):
    longer = type("Call", (Call,), {"_fields_": (("more", ctypes.c_int64),)})
    monkeypatch.setattr(_native_library, "Call", longer)
    use(use.real)
    assert native.missing().endswith("do not load: they belong to another version of eyeline")


@needs_kernels
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"size": 8}, "header and library differ"),
        ({"dtype": 3}, "makes no sense"),
        ({"threads": 0}, "makes no sense"),
        ({"heads": 3, "kv_heads": 2}, "makes no sense"),
        ({"kv_len": -1}, "makes no sense"),
        ({"top_k": 65}, "makes no sense"),
    ],
    ids=str,
)
def test_a_call_that_makes_no_sense_is_refused_in_words(fields, message):
    call = Call(**({"size": ctypes.sizeof(Call), "threads": 1} | fields))
    with pytest.raises(RuntimeError, match=rf"eyeline's kernels: .*{message}"):
        library().attend(call)


@needs_kernels
def test_an_empty_call_is_legal():
    assert library().attend(Call(size=ctypes.sizeof(Call), threads=1))


TYPES = {
    ctypes.c_int32: "int32_t",
    ctypes.c_int64: "int64_t",
    ctypes.c_uint32: "uint32_t",
    ctypes.c_uint64: "uint64_t",
    ctypes.c_float: "float",
    ctypes.c_void_p: "pointer",
    Call: "eyeline_call",
}


def declared(struct):
    """`(name, type, length)` of each field of a struct in the header."""
    body = re.search(rf"typedef struct {struct} \{{(.*?)\}} {struct};", HEADER.read_text(), re.S)
    fields = []
    for statement in re.sub(r"//[^\n]*", "", body[1]).split(";"):
        kind, _, names = statement.strip().removeprefix("const ").partition(" ")
        for name in filter(None, re.split(r",\s*", names)):
            word, length = re.fullmatch(r"\*?(\w+)(?:\[(\d)\])?", name).groups()
            pointer = "*" in kind + name
            fields.append((word, "pointer" if pointer else kind, int(length or 1)))
    return fields


def described(structure):
    fields = []
    for name, kind in structure._fields_:
        length = getattr(kind, "_length_", 1)
        fields.append((name, TYPES[kind._type_ if length > 1 else kind], length))
    return fields


@pytest.mark.skipif(not HEADER.exists(), reason="the sources of the kernels are not here")
def test_the_structs_are_those_of_the_header():
    assert described(Call) == declared("eyeline_call")
    assert described(BackwardCall) == declared("eyeline_backward")


def test_it_looks_beside_the_package_then_where_it_was_installed(tmp_path, monkeypatch):
    monkeypatch.delenv("EYELINE_LIBRARY", raising=False)
    beside, installed = (tmp_path / name / "eyeline/kernels" for name in ("source", "installed"))
    monkeypatch.setattr(_native_library, "__file__", str(beside.parent / "impl/_native_library.py"))

    class Distribution:
        def locate_file(self, path):
            return tmp_path / "installed" / path

    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Distribution())
    assert _native_library._find() is None
    for folder in (installed, beside):
        folder.mkdir(parents=True)
        (folder / _native_library._NAME).touch()
        assert _native_library._find() == folder / _native_library._NAME
    monkeypatch.setenv("EYELINE_LIBRARY", "given.so")
    assert _native_library._find() == Path("given.so")


def test_an_eyeline_that_was_never_installed_has_no_kernels(tmp_path, monkeypatch):
    monkeypatch.delenv("EYELINE_LIBRARY", raising=False)
    monkeypatch.setattr(_native_library, "__file__", str(tmp_path / "a/b/c.py"))

    def nowhere(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", nowhere)
    assert _native_library._find() is None
