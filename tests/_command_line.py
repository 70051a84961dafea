"""The command line in a process of its own; and `look` at a tiny model."""

import os
import subprocess
import sys
from pathlib import Path

import _tiny_models as tiny

SOURCE = str(Path(__file__).parent.parent / "src")


def process(*arguments, wait=True, **environment):
    given = os.environ | {"PYTHONPATH": SOURCE, "HF_HUB_OFFLINE": "1"} | environment
    command = [sys.executable, "-m", "eyeline", *map(str, arguments)]
    pipe = subprocess.PIPE
    started = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=given)
    if not wait:
        return started
    out, err = started.communicate(timeout=60)
    return started.returncode, out, err


def look_of(family, *options, text=tiny.TEXT):
    return ["look", text, "--model", tiny.folder(family), *options]
