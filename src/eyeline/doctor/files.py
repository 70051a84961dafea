"""`eyeline check FILE.py:NAME`: the candidate out of a file.

The file runs here, in this process, as if it were imported: for a file of your own. Code that is
not trusted belongs into `eyeline.learn.sandbox`.
"""

import contextlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eyeline._errors import EyelineError, one_line
from eyeline.doctor._limits import SECONDS, TimeIsUp, time_limit
from eyeline.doctor.checking import check
from eyeline.doctor.diagnosis import Diagnosis

__all__ = ["check_file", "load_candidate"]

_CAUSAL = {
    None: None,
    "yes": True,
    "no": False,
    "top-left": "top-left",
    "bottom-right": "bottom-right",
}


def check_file(
    target: str,
    what: str | None = None,
    *,
    causal: str | None = None,
    seconds: float = 20.0,
    **stated: Any,
) -> Diagnosis:
    """Check what stands in a file.

    Args:
        target: `FILE.py:NAME`.
        what: As for `check`.
        causal: "yes", "no", "top-left" or "bottom-right".
        seconds: As for `check`; the file itself may take as long to be imported.
        stated: Other arguments of `check`.

    Raises:
        EyelineError: There is no such file or name, or it could not be checked.
    """
    if causal not in _CAUSAL:
        known = ", ".join(name for name in _CAUSAL if name)
        raise EyelineError(f"--causal {causal} is not known; choose one of {known}")
    limit = SECONDS.set(seconds)
    try:
        candidate = load_candidate(target)
    finally:
        SECONDS.reset(limit)
    return check(candidate, what, causal=_CAUSAL[causal], seconds=seconds, **stated)


def load_candidate(target: str) -> Callable[..., Any]:
    """The function, class or module object that a file defines.

    Raises:
        EyelineError: There is no such file or name, or the file stops with an error.
    """
    name_of_file, _, name = target.rpartition(":")
    if not name_of_file.endswith(".py") or not name:
        raise EyelineError(
            f"{target}: expected FILE.py:NAME, for example attention.py:my_attention"
        )
    path = Path(name_of_file)
    if not path.is_file():
        raise EyelineError(f"there is no file {path}")
    made = _run(path)
    if not hasattr(made, name):
        defined = [n for n, thing in vars(made).items() if callable(thing) and n[0] != "_"]
        known = ", ".join(defined[:12]) or "nothing that can be called"
        raise EyelineError(f"{path} defines no {name}; it defines {known}")
    return getattr(made, name)


def _run(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)  # its neighbours can be imported, as in `python FILE.py`
    try:
        # what it prints is not our answer, and must not stand in our JSON
        with contextlib.redirect_stdout(sys.stderr), time_limit():
            spec.loader.exec_module(module)
    except TimeIsUp as late:
        raise EyelineError(
            f"{path} had not been imported after {SECONDS.get():g} seconds{_line_in(late, path)}: "
            'put what takes long under if __name__ == "__main__":'
        ) from None
    except SystemExit as end:
        raise EyelineError(
            f"{path} ends the program (exit {end.code}) when it is imported: put that under "
            'if __name__ == "__main__":'
        ) from None
    except Exception as error:
        line = _line_in(error, path)
        raise EyelineError(
            f"{path} stops with {type(error).__name__}: {one_line(error)}{line}"
        ) from None
    finally:
        sys.path.remove(folder)
    return module


def _line_in(error: BaseException, path: Path) -> str:
    if isinstance(error, SyntaxError):
        return f" (line {error.lineno})"
    trace, line = error.__traceback__, None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return "" if line is None else f" (line {line})"
