"""The learner's process: load their file, call their functions, send back what they return.

Nothing that is decided here counts: the answers are data, and the parent, which has the expected
values, compares them. So a learner's code may do here what it likes to torch, to this file or to
the answer.
"""

import contextlib
import doctest
import io
import os
import sys
import traceback
import types
from importlib.abc import MetaPathFinder
from typing import Any

_OUR_OWN = "eyeline"
_MESSAGE = 2000


class NoShortcut(MetaPathFinder):
    """`import eyeline` in an exercise: what is to be written stands there."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
        if fullname.split(".")[0] == _OUR_OWN:
            raise ImportError("eyeline cannot be imported in an exercise: you are writing it")


def main(requests: int, answers: int) -> None:
    """Serve requests until the other end is closed.

    Args:
        requests: File descriptor to read frames from.
        answers: File descriptor to write frames to.
    """
    import torch

    from eyeline.learn.sandbox import wire
    from eyeline.learn.sandbox._confine import confine
    from eyeline.learn.sandbox.limits import Limits

    torch.set_num_threads(1)
    (torch.ones(2, 2, requires_grad=True) @ torch.ones(2, 2)).sum().backward()
    source, sink = os.fdopen(requests, "rb", buffering=0), os.fdopen(answers, "wb", buffering=0)

    def ask() -> Any:
        header = _read(source, wire.HEADER_BYTES)
        return wire.decode(header + _read(source, sum(wire.lengths(header))))

    def tell(data: Any) -> None:
        frame = memoryview(wire.encode(data))
        while frame:
            frame = frame[sink.write(frame) :]

    first = ask()
    limits = Limits(**first["limits"])
    layers = confine(limits, first["scratch"], first["hidden"], first["own_namespaces"])
    for name in [name for name in sys.modules if name.split(".")[0] == _OUR_OWN]:
        del sys.modules[name]
    sys.meta_path.insert(0, NoShortcut())
    tell({"layers": layers})
    module = types.ModuleType("practice")
    while True:
        request = ask()
        match request["do"]:
            case "load":
                module = types.ModuleType("practice")
                answer = _load(module, request["source"], request["path"])
            case "doctest":
                answer = _doctest(module)
            case _:
                answer = [_call(module, wire.Call(**one)) for one in request["calls"]]
        with contextlib.suppress(Exception):  # they may be anything by now
            sys.stdout.flush()
            sys.stderr.flush()
        tell(answer)


def _read(source: Any, count: int) -> bytes:
    parts = []
    while count:
        part = source.read(count)
        if not part:
            os._exit(0)  # nobody asks any more
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _load(module: types.ModuleType, source: str, path: str) -> dict[str, Any]:
    module.__file__ = path
    sys.modules["practice"] = module
    import linecache

    lines = source.splitlines(keepends=True)
    linecache.cache[path] = (len(source), None, lines, path)
    try:
        exec(compile(source, path, "exec"), module.__dict__)
    except BaseException as error:
        return {"error": _told(error, path)}
    return {"names": [name for name, value in vars(module).items() if callable(value)]}


def _doctest(module: types.ModuleType) -> dict[str, Any]:
    failed = tried = 0
    said = io.StringIO()
    try:
        runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE)
        own = [one for one in vars(module).values() if isinstance(one, types.FunctionType)]
        for function in [one for one in own if one.__module__ == module.__name__]:
            globs = dict(vars(module))
            for one in doctest.DocTestFinder().find(function, function.__name__, globs=globs):
                result = runner.run(one, out=said.write)
                failed, tried = failed + result.failed, tried + result.attempted
    except BaseException as error:
        return {"error": _told(error, module.__file__ or "")}
    return {"failed": failed, "tried": tried, "said": said.getvalue()[:_MESSAGE]}


def _call(module: types.ModuleType, call: Any) -> dict[str, Any]:
    import torch

    path = module.__file__ or ""
    if not callable(getattr(module, call.function, None)):
        return {"missing": call.function}
    leaves = [one for one in call.args if isinstance(one, torch.Tensor) and call.grad]
    leaves = [one.requires_grad_() for one in leaves if one.is_floating_point()]
    try:
        value = getattr(module, call.function)(*call.args, **call.kwargs)
        answer: dict[str, Any] = {"value": value}
        if call.grad and isinstance(value, torch.Tensor) and value.requires_grad:
            value.sum().backward()
            answer["grads"] = [one.grad for one in leaves]
    except BaseException as error:
        return {"error": _told(error, path)}
    answer["inputs"] = list(call.args)
    return answer


def _told(error: BaseException, path: str) -> dict[str, Any]:
    """An error in words: its type, what it says, and the learner's own line."""
    line, number = "", 0
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename == path:
            line, number = frame.line or "", frame.lineno or 0
    if isinstance(error, SyntaxError) and error.filename == path:
        line, number = (error.text or "").strip(), error.lineno or 0
    try:
        message = str(error)
    except BaseException:
        message = ""
    kind = type(error).__name__
    return {"type": kind, "message": message[:_MESSAGE], "line": line, "number": number}
