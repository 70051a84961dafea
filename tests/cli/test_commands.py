"""The commands there are, and what is no command."""

import pytest


@pytest.mark.parametrize("arguments", [["look"], ["look", "it", "--layer", "x"], ["nothing"]])
def test_wrong_usage(eyeline, arguments):
    code, out, err = eyeline(*arguments)
    assert code == 2 and out == "" and "Traceback" not in err and "Usage" in err


@pytest.mark.parametrize("arguments", [["--help"], ["look", "-h"], ["models", "--help"]])
def test_help(eyeline, arguments):
    code, out, _ = eyeline(*arguments)
    assert code == 0 and "Usage" in out
