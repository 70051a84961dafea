"""What every test file shares: helpers are importable, a contract runs per implementation."""

import io
import os
import signal
import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]  # `import _oracle`, `import bench`

if "PYTEST_XDIST_WORKER" in os.environ:
    # workers share the cores; threads that wait for each other's turn take several times as long
    torch.set_num_threads(
        max((os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"]), 1)
    )

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # a job in the background of a script does not hear Ctrl-C, and hands that down to its children
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def eyeline(monkeypatch, capsys, tmp_path):
    """`eyeline("look", …)`: the command line in this process; `(code, out, err)`."""
    from eyeline.cli import main

    monkeypatch.setenv("EYELINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def run(*arguments, stdin: str = ""):
        monkeypatch.setattr(sys, "argv", ["eyeline", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        before = signal.getsignal(signal.SIGPIPE)
        with pytest.raises(SystemExit) as end:
            main()
        signal.signal(signal.SIGPIPE, before)
        out, err = capsys.readouterr()
        return end.value.code or 0, out, err

    return run


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `impl` runs once for every implementation there is."""
    if "impl" in metafunc.fixturenames:
        from eyeline.impl import IMPLEMENTATIONS

        metafunc.parametrize("impl", list(IMPLEMENTATIONS))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item):
    """What the kernels say they cannot do (float64, dropout, …) is no failure of theirs.

    `tests/impl/test_native.py` holds what they must be able to do.
    """
    try:
        return (yield)
    except ValueError as error:
        if getattr(item, "callspec", None) and item.callspec.params.get("impl") == "native":
            if str(error).startswith("impl='native' cannot do this"):
                pytest.skip(str(error))
        raise


@pytest.fixture(autouse=True)
def seed() -> None:
    """Every test draws the same numbers, whatever ran before it."""
    # torch.manual_seed also notes for every accelerator that is not here where it was called: 5 ms
    torch.default_generator.manual_seed(20170612)


def pytest_configure(config: pytest.Config) -> None:
    """Without a compiler there are no kernels: their tests skip, the others need no warning."""
    from eyeline.impl import native

    if native.missing():
        config.addinivalue_line("filterwarnings", "ignore:.*portable implementation:RuntimeWarning")


@pytest.fixture
def tiny_panels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Panels so small that short sequences take many chunks, blocks and spans."""
    import _panels

    _panels.shrink(monkeypatch)
